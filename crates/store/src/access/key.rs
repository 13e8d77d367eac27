//! Keys: their hashes, who has them, and when they were last used.

use chrono::{DateTime, Utc};
use muster_domain::ids::OrganisationId;
use uuid::Uuid;

use super::{Access, AccessTx};
use crate::bulk::{Column, Insert, Weight};
use crate::connect::on;
use crate::error::{Result, StoreError};
use crate::organisation::{hash, micros, moment};

/// A key as it is stored: no secret, but the hash of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its identity.
    pub id: String,
    /// The user on whose behalf it acts.
    pub user: Uuid,
    /// The hash of its secret.
    pub hash: [u8; 32],
    /// The hash of its former secret, and until when that works.
    pub former: Option<([u8; 32], DateTime<Utc>)>,
    /// What people see of it.
    pub doc: Vec<u8>,
}

/// All that decides whether a key is let in, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKey {
    /// The organisation that it is of.
    pub organisation: OrganisationId,
    /// The key.
    pub key: KeyRow,
    /// The user on whose behalf it acts.
    pub user: Option<Vec<u8>>,
    /// That user's role in the organisation.
    pub role: Option<String>,
}

/// When a key was last used, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// When.
    pub at: DateTime<Utc>,
    /// From which address.
    pub address: String,
}

type Row = (String, Uuid, Vec<u8>, Option<Vec<u8>>, Option<i64>, Vec<u8>);

fn key_row((id, user, bytes, former, until, doc): Row) -> Result<KeyRow> {
    let former = match (former, until) {
        (Some(bytes), Some(until)) => Some((hash(bytes)?, moment(until)?)),
        _ => None,
    };
    Ok(KeyRow { id, user, hash: hash(bytes)?, former, doc })
}

impl Access {
    /// The key of that identity with its user and role: the one look-up that does not know the organisation yet.
    pub async fn find_key(&self, id: &str) -> Result<Option<FoundKey>> {
        const SQL: &str = "SELECT k.org, k.id, k.account, k.hash, k.former_hash, k.former_until, k.doc, a.doc, r.role \
            FROM api_key k LEFT JOIN account a ON a.id = k.account \
            LEFT JOIN role r ON r.org = k.org AND r.account = k.account WHERE k.id = $1";
        type Found =
            (Uuid, String, Uuid, Vec<u8>, Option<Vec<u8>>, Option<i64>, Vec<u8>, Option<Vec<u8>>, Option<String>);
        let mut reading = self.reading().await?;
        let row: Option<Found> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(id).fetch_optional(&mut **c).await?);
        row.map(|(org, id, user, bytes, former, until, doc, user_doc, role)| {
            let key = key_row((id, user, bytes, former, until, doc))?;
            Ok(FoundKey { organisation: OrganisationId(org), key, user: user_doc, role })
        })
        .transpose()
    }

    /// One key of an organisation.
    pub async fn key(&self, org: OrganisationId, id: &str) -> Result<KeyRow> {
        const SQL: &str =
            "SELECT id, account, hash, former_hash, former_until, doc FROM api_key WHERE org = $1 AND id = $2";
        let mut reading = self.reading().await?;
        let row: Option<Row> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(org.0).bind(id).fetch_optional(&mut **c).await?);
        key_row(row.ok_or(StoreError::NotFound)?)
    }

    /// All keys of an organisation, revoked ones too, each with its last use.
    pub async fn keys(&self, org: OrganisationId) -> Result<Vec<(KeyRow, Option<Used>)>> {
        const SQL: &str = "SELECT k.id, k.account, k.hash, k.former_hash, k.former_until, k.doc, u.at, u.address \
            FROM api_key k LEFT JOIN key_use u ON u.org = k.org AND u.key = k.id WHERE k.org = $1 ORDER BY k.id";
        type Listed = (String, Uuid, Vec<u8>, Option<Vec<u8>>, Option<i64>, Vec<u8>, Option<i64>, Option<String>);
        let mut reading = self.reading().await?;
        let rows: Vec<Listed> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(org.0).fetch_all(&mut **c).await?);
        rows.into_iter()
            .map(|(id, user, bytes, former, until, doc, at, address)| {
                let used = match (at, address) {
                    (Some(at), Some(address)) => Some(Used { at: moment(at)?, address }),
                    _ => None,
                };
                Ok((key_row((id, user, bytes, former, until, doc))?, used))
            })
            .collect()
    }

    /// The keys that act on behalf of a user, in whatever organisation, as people see them: users are above organisations.
    pub async fn keys_of_account(&self, user: Uuid) -> Result<Vec<Vec<u8>>> {
        const SQL: &str = "SELECT doc FROM api_key WHERE account = $1 ORDER BY org, id";
        let mut reading = self.reading().await?;
        Ok(on!(&mut reading.conn(), c => sqlx::query_scalar(SQL).bind(user).fetch_all(&mut **c).await?))
    }

    /// Notes when keys of an organisation were last used; an earlier moment does not count.
    pub async fn note_uses(&self, org: OrganisationId, uses: Vec<(String, Used)>) -> Result<()> {
        let columns = vec![
            ("key", Column::Text(uses.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>().into_iter())),
            ("at", Column::ints(uses.iter().map(|(_, used)| micros(used.at)))),
            ("address", Column::Text(uses.into_iter().map(|(_, used)| used.address).collect::<Vec<_>>().into_iter())),
        ];
        let conflict = "ON CONFLICT (org, key) DO UPDATE SET at = excluded.at, address = excluded.address \
            WHERE key_use.at <= excluded.at";
        let mut writing = self.writing().await?;
        let insert = Insert { table: "key_use", org, feed: None, columns, conflict, weight: Weight::Light };
        insert.run(&mut writing.conn()).await?;
        writing.commit().await
    }
}

impl AccessTx {
    /// Writes a key of this organisation, new or as it is now.
    pub async fn put_key(&mut self, key: &KeyRow) -> Result<()> {
        const SQL: &str = "INSERT INTO api_key (org, id, account, hash, former_hash, former_until, doc) \
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET account = excluded.account, \
            hash = excluded.hash, former_hash = excluded.former_hash, former_until = excluded.former_until, \
            doc = excluded.doc WHERE api_key.org = excluded.org";
        let org = self.org;
        let (former, until) = key.former.map(|(hash, until)| (hash.to_vec(), micros(until))).unzip();
        let rows = on!(&mut self.conn(), c => {
            let query = sqlx::query(SQL).bind(org.0).bind(&*key.id).bind(key.user).bind(&key.hash[..]);
            query.bind(former).bind(until).bind(&*key.doc).execute(&mut **c).await?.rows_affected()
        });
        // A key of another organisation has that identity.
        if rows == 1 { Ok(()) } else { Err(StoreError::KeyConflict) }
    }

    /// One key of this organisation, as it is while nobody else can change it.
    pub async fn key(&mut self, id: &str) -> Result<KeyRow> {
        const SQL: &str =
            "SELECT id, account, hash, former_hash, former_until, doc FROM api_key WHERE org = $1 AND id = $2";
        let org = self.org;
        let row: Option<Row> =
            on!(&mut self.conn(), c => sqlx::query_as(SQL).bind(org.0).bind(id).fetch_optional(&mut **c).await?);
        key_row(row.ok_or(StoreError::NotFound)?)
    }

    /// All keys of this organisation, revoked ones too.
    pub async fn keys(&mut self) -> Result<Vec<KeyRow>> {
        const SQL: &str =
            "SELECT id, account, hash, former_hash, former_until, doc FROM api_key WHERE org = $1 ORDER BY id";
        let org = self.org;
        let rows: Vec<Row> = on!(&mut self.conn(), c => sqlx::query_as(SQL).bind(org.0).fetch_all(&mut **c).await?);
        rows.into_iter().map(key_row).collect()
    }
}
