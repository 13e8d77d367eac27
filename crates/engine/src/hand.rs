//! By hand: one person edited by an administrator. It is a change set like any other, and pins what it sets.

use std::collections::HashMap;

use muster_domain::{
    change::{Change, Kind},
    diff::{self, Absence, Outcome, Row},
    eligibility,
    field::{FieldId, FieldSet},
    forgotten::Block,
    guard::Asked,
    ids::{FeedNo, MemberNo},
    link,
    member::Member,
    normalise,
    values::Values,
};
use muster_intake::row::MAX_KEY_CHARS;
use muster_store::Lease;
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result, members::Whom, propose::Proposal, report::Report};

/// What an administrator does to one person.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Fields are set; an empty value clears.
    Set {
        /// Whose.
        key: Whom,
        /// Field names and values.
        fields: Vec<(String, String)>,
    },
    /// A person is added.
    Add {
        /// Field names and values; the match key among them.
        fields: Vec<(String, String)>,
    },
    /// A person is taken off the roster, whatever feeds say.
    Remove {
        /// Who.
        key: Whom,
    },
    /// The match key changes.
    Rekey {
        /// Who.
        key: Whom,
        /// The key from now on.
        new_key: String,
    },
    /// Two members are one person: the second is joined to the first.
    Link {
        /// Who stays.
        key: Whom,
        /// Who is the same person.
        other: Whom,
    },
}

/// A row typed in by hand.
#[derive(Default)]
struct Typed {
    values: Values,
    raw: Values,
    null: FieldSet,
}

impl Engine {
    /// Does an edit, as policy allows.
    ///
    /// # Errors
    /// If a field, value or person is not known, or the edit makes no sense.
    pub async fn by_hand(&self, slug: &str, edit: Edit, asked: Option<Asked>) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        // On the heap: whoever waits for this holds all that it works with on their stack.
        let outcome = Box::pin(self.by_hand_leased(&lease, slug, &edit, asked)).await;
        self.give_back(&lease, outcome).await
    }

    async fn by_hand_leased(&self, lease: &Lease, slug: &str, edit: &Edit, asked: Option<Asked>) -> Result<Report> {
        let org = self.organisation(slug).await?;
        match edit {
            Edit::Set { key, fields } => {
                let member = self.whom(&org, key).await?;
                if !member.is_listed() {
                    return Err(Error::Wrong(format!(
                        "{key} is not on the roster; adding the person by hand (`muster members add`) brings them back."
                    )));
                }
                let typed = typed(&org, fields)?;
                let key = typed.values.get(org.settings.match_key.field()).unwrap_or(&member.key).to_owned();
                self.expect_free(&org, &key, member.no).await?;
                self.named_by_hand(lease, &org, member, &typed, &key, asked).await
            }
            Edit::Add { fields } => self.add_by_hand(lease, &org, fields, asked).await,
            Edit::Remove { key } => {
                let member = self.whom(&org, key).await?;
                let (priorities, speaks) = (org.priorities(), org.speaks());
                let lasts = matches!(
                    diff::left(&member, &self.hand_context(&org, &priorities, &speaks)),
                    Absence::Change { change, .. } if change.kind == Kind::Remove
                );
                if !member.is_listed() && !lasts {
                    return Err(Error::Wrong(format!("{key} is not on the roster.")));
                }
                let mut change = Change::new(Kind::Remove, Some(member.no), member.uuid, member.key.clone());
                change.ends = true;
                self.propose_for(lease, &org, vec![member], vec![change], asked).await
            }
            Edit::Rekey { key, new_key } => {
                let member = self.whom(&org, key).await?;
                self.expect_free(&org, new_key, member.no).await?;
                let typed = typed(
                    &org,
                    &[(org.settings.fields.name(org.settings.match_key.field()).to_owned(), new_key.clone())],
                )?;
                self.named_by_hand(lease, &org, member, &typed, new_key, asked).await
            }
            Edit::Link { key, other } => self.link(lease, &org, key, other, asked).await,
        }
    }

    async fn add_by_hand(
        &self,
        lease: &Lease,
        org: &Organisation,
        fields: &[(String, String)],
        asked: Option<Asked>,
    ) -> Result<Report> {
        let typed = typed(org, fields)?;
        let field = org.settings.match_key.field();
        let Some(key) = typed.values.get(field).map(str::to_owned) else {
            return Err(Error::Wrong(format!(
                "A person needs a match key: give {}=….",
                org.settings.fields.name(field)
            )));
        };
        match self.member(org, &key).await {
            Ok(member) if member.is_listed() => Err(Error::Wrong(
                "That person is on the roster already; set their fields (`muster members set`).".to_owned(),
            )),
            Ok(member) => self.named_by_hand(lease, org, member, &typed, &key, asked).await,
            Err(Error::Unknown(_)) => {
                self.expect_not_forgotten(org, &typed, &key).await?;
                let (priorities, speaks) = (org.priorities(), org.speaks());
                let ctx = self.hand_context(org, &priorities, &speaks);
                let change = diff::unknown(row(&typed, &key), Uuid::now_v7(), &ctx);
                self.propose_for(lease, org, Vec::new(), vec![change], asked).await
            }
            Err(e) => Err(e),
        }
    }

    async fn named_by_hand(
        &self,
        lease: &Lease,
        org: &Organisation,
        member: Member,
        typed: &Typed,
        key: &str,
        asked: Option<Asked>,
    ) -> Result<Report> {
        let (priorities, speaks) = (org.priorities(), org.speaks());
        let ctx = self.hand_context(org, &priorities, &speaks);
        let changes = match diff::named(&member, row(typed, key), None, &ctx) {
            Outcome::Change { change, .. } => vec![change.into_owned()],
            Outcome::Unchanged | Outcome::Suppressed => Vec::new(),
        };
        self.propose_for(lease, org, vec![member], changes, asked).await
    }

    /// The second person's claims, words and keys pass to the first.
    async fn link(
        &self,
        lease: &Lease,
        org: &Organisation,
        key: &Whom,
        other: &Whom,
        asked: Option<Asked>,
    ) -> Result<Report> {
        let (stays, joins) = (self.whom(org, key).await?, self.whom(org, other).await?);
        if stays.no == joins.no {
            return Err(Error::Wrong("Both name the same member already.".to_owned()));
        }
        let (priorities, speaks) = (org.priorities(), org.speaks());
        let ctx = self.hand_context(org, &priorities, &speaks);
        let changes = link::link(&stays, &joins, &ctx).into_iter().map(Change::into_owned).collect();
        self.propose_for(lease, org, vec![stays, joins], changes, asked).await
    }

    async fn propose_for(
        &self,
        lease: &Lease,
        org: &Organisation,
        members: Vec<Member>,
        changes: Vec<Change<'_>>,
        asked: Option<Asked>,
    ) -> Result<Report> {
        let members: HashMap<MemberNo, Member> = members.into_iter().map(|m| (m.no, m)).collect();
        let changes = changes.into_iter().map(Change::into_owned).collect();
        let proposal =
            Proposal { changes, members: &members, undoes: Vec::new(), baseline: None, asked, dry_run: false };
        self.propose(lease, org, proposal).await
    }

    fn hand_context<'a>(
        &self,
        org: &'a Organisation,
        priorities: &'a [(FeedNo, i32)],
        speaks: &'a [(FeedNo, FieldSet)],
    ) -> diff::Context<'a> {
        diff::Context {
            feed: FeedNo::HAND,
            priorities,
            speaks,
            empty_clears: true,
            match_field: org.settings.match_key.field(),
            fields: &org.settings.fields,
            today: eligibility::today(&org.settings, self.now()),
            ask_again_days: org.settings.ask_again_days,
        }
    }

    async fn expect_not_forgotten(&self, org: &Organisation, typed: &Typed, key: &str) -> Result<()> {
        let blocked = self.blocked(org).await?;
        if Block::all_of(&org.keys, key, &typed.values).any(|block| blocked.contains(&block)) {
            return Err(Error::Wrong(format!(
                "That is, by the match key, the e-mail or the employee id, somebody who was forgotten; to take the person \
                 on again, lift that first: `muster forget --lift KEY --org {}`.",
                org.row.slug
            )));
        }
        Ok(())
    }

    async fn expect_free(&self, org: &Organisation, key: &str, no: MemberNo) -> Result<()> {
        match self.member(org, key).await {
            Ok(member) if member.no != no => Err(Error::Wrong(
                "That is another member's key; linking (`muster members link`) joins two members who are one person."
                    .to_owned(),
            )),
            Err(Error::Unknown(_)) | Ok(_) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn row<'a>(typed: &'a Typed, key: &'a str) -> Row<'a> {
    Row { line: 0, key, values: &typed.values, empty: FieldSet::default(), null: typed.null, raw: &typed.raw }
}

/// Reads what was typed as a feed's cells are read.
fn typed(org: &Organisation, fields: &[(String, String)]) -> Result<Typed> {
    let mut typed = Typed::default();
    for (name, text) in fields {
        let field = field_of(org, name)?;
        let value = normalise::value(org.settings.fields.kind(field), text, org.settings.dates)
            .map_err(|why| Error::Wrong(format!("The value for {name} cannot be taken: {why}")))?;
        if field == org.settings.match_key.field() {
            check_key(name, &value)?;
        }
        if value.is_empty() {
            typed.null.insert(field);
        } else if value != normalise::trim(text) {
            typed.raw.set(field, Some(normalise::trim(text)));
        }
        typed.values.set(field, Some(&value));
    }
    Ok(typed)
}

/// Without a key, or with one that no payload could hold, nobody would find the person again.
fn check_key(name: &str, key: &str) -> Result<()> {
    match key.chars().count() {
        0 => Err(Error::Wrong(format!("The match key cannot be blank; give {name} a value."))),
        n if n > MAX_KEY_CHARS => {
            Err(Error::Wrong(format!("A match key has at most {MAX_KEY_CHARS} characters, and this one {n}.")))
        }
        _ => Ok(()),
    }
}

fn field_of(org: &Organisation, name: &str) -> Result<FieldId> {
    if name == "unique_id" {
        return Ok(org.settings.match_key.field());
    }
    org.settings.fields.by_name(name).ok_or_else(|| {
        let names: Vec<&str> = org.settings.fields.all().map(|f| org.settings.fields.name(f)).collect();
        Error::Wrong(format!("There is no field {name}; there are: {}.", names.join(", ")))
    })
}
