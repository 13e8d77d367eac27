//! What a key may do, as it is said on the command line.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_domain::{
    access::{FieldLimits, IpNet, Preset, Resource, Rights, network},
    ids::FeedNo,
};
use muster_engine::{Organisation, access::Terms};

use crate::fail::Failure;

/// The word that takes a limit away.
const ANY: &str = "any";

/// Rights and limits.
#[derive(Clone, Debug, Args)]
pub struct Given {
    /// The rights of a usual key: send-lists, or check-eligibility
    #[arg(long, value_parser = preset())]
    preset: Option<Preset>,
    /// A right, such as member:read, upload:create, change_set:approve or apikey:write; several with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// The only feed for which it speaks
    #[arg(long, value_name = "FEED")]
    feed: Option<String>,
    /// From where it may be used: 192.0.2.0/24 or one address; several with commas [default: from everywhere]
    #[arg(long = "network", value_name = "CIDR", value_delimiter = ',')]
    networks: Vec<String>,
    /// When it ends: 30d, 90d, 1y, a date (its whole day in UTC counts), a time, or never [default: never]
    #[arg(long, value_name = "END", value_parser = end)]
    expires: Option<End>,
    /// Fields that it may read, by resource: members=email,department [default: all]
    #[arg(long, value_name = "RESOURCE=FIELDS", value_parser = fields)]
    read_fields: Vec<(Resource, Option<BTreeSet<String>>)>,
    /// Fields that it may write, by resource [default: all]
    #[arg(long, value_name = "RESOURCE=FIELDS", value_parser = fields)]
    write_fields: Vec<(Resource, Option<BTreeSet<String>>)>,
    /// Only members of this department; may be given several times
    #[arg(long = "department", value_name = "NAME")]
    departments: Vec<String>,
    /// Only members of this subcompany; may be given several times
    #[arg(long = "subcompany", value_name = "NAME")]
    subcompanies: Vec<String>,
    /// Only members whom this feed claims; several with commas
    #[arg(long, value_name = "FEED", value_delimiter = ',')]
    rows_feed: Vec<String>,
    /// How often, a minute: requests=120, uploads=20 or eligibility=60000; several with commas
    #[arg(long = "rate", value_name = "KIND=N", value_delimiter = ',', value_parser = rate)]
    rates: Vec<(Rate, Option<u32>)>,
}

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Never,
    In(Duration),
    At(DateTime<Utc>),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Requests,
    Uploads,
    Eligibility,
}

fn preset() -> impl TypedValueParser<Value = Preset> {
    let words = PossibleValuesParser::new(Preset::ALL.map(Preset::word));
    words.try_map(|word| Preset::from_word(&word).ok_or("no such preset"))
}

/// Reads a span of time: `0`, `12h`, `7d`, `1y`.
pub fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unknown = || "write it as 0, 12h, 30d or 1y".to_owned();
    if text == "0" {
        return Ok(Duration::zero());
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().ok().filter(|n| (0..=100_000).contains(n)).ok_or_else(unknown)?;
    match unit {
        "h" => Ok(Duration::hours(number)),
        "d" => Ok(Duration::days(number)),
        "y" => Ok(Duration::days(number.min(1000) * 365)),
        _ => Err(unknown()),
    }
}

fn end(text: &str) -> Result<End, String> {
    let text = text.trim();
    if text == "never" {
        return Ok(End::Never);
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        let after = day.succ_opt().and_then(|next| next.and_hms_opt(0, 0, 0));
        return after.map(|at| End::At(at.and_utc())).ok_or_else(|| "that day is too far away".to_owned());
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(End::At(at.to_utc()));
    }
    span(text).map(End::In).map_err(|_| "write it as 30d, 90d, 1y, 2027-01-31, a time in RFC 3339, or never".to_owned())
}

fn fields(text: &str) -> Result<(Resource, Option<BTreeSet<String>>), String> {
    let known = || Resource::ALL.map(Resource::word).join(", ");
    let (resource, names) = text.split_once('=').ok_or("write it as members=email,department")?;
    let resource = Resource::from_word(resource.trim()).ok_or_else(|| format!("the resources are {}", known()))?;
    let names: BTreeSet<String> = names.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    let is_any = names.len() == 1 && names.contains(ANY);
    Ok((resource, Some(names).filter(|_| !is_any)))
}

fn rate(text: &str) -> Result<(Rate, Option<u32>), String> {
    let unknown = || "write it as requests=120, uploads=20 or eligibility=60000".to_owned();
    let (kind, number) = text.split_once('=').ok_or_else(unknown)?;
    let kind = match kind.trim() {
        "requests" => Rate::Requests,
        "uploads" => Rate::Uploads,
        "eligibility" => Rate::Eligibility,
        _ => return Err(unknown()),
    };
    match number.trim() {
        ANY => Ok((kind, None)),
        number => number.parse().map(|n| (kind, Some(n))).map_err(|_| unknown()),
    }
}

/// Texts, or none where the word `any` takes the limit away.
fn limit(texts: Vec<String>) -> Vec<String> {
    if texts.iter().any(|t| t.trim() == ANY) { Vec::new() } else { texts }
}

fn feed_no(org: &Organisation, name: &str) -> Result<FeedNo, Failure> {
    Ok(org.feed(name.trim())?.no)
}

fn put_fields(limits: &mut FieldLimits, given: Vec<(Resource, Option<BTreeSet<String>>)>, is_read: bool) {
    for (resource, names) in given {
        let fields = limits.0.entry(resource).or_default();
        *(if is_read { &mut fields.read } else { &mut fields.write }) = names;
    }
    limits.0.retain(|_, fields| fields.read.is_some() || fields.write.is_some());
}

impl Given {
    /// Puts what was said into a key's terms; what was not said stays.
    ///
    /// # Errors
    /// If a scope, feed or network is none.
    pub fn put(self, terms: &mut Terms, org: &Organisation, now: DateTime<Utc>) -> Result<(), Failure> {
        if self.preset.is_some() || !self.scopes.is_empty() {
            let scopes =
                Rights::read(self.scopes.iter().map(String::as_str)).map_err(|e| Failure::wrong(e.to_string()))?;
            terms.rights = self.preset.map_or(Rights::NONE, Preset::rights).or(scopes);
        }
        if let Some(feed) = self.feed {
            terms.feed = if feed == ANY { None } else { Some(feed_no(org, &feed)?) };
        }
        if !self.networks.is_empty() {
            let networks: Result<Vec<IpNet>, String> = limit(self.networks).iter().map(|n| network(n)).collect();
            terms.networks = networks.map_err(Failure::wrong)?;
        }
        match self.expires {
            Some(End::Never) => terms.expires_at = None,
            Some(End::In(span)) => terms.expires_at = Some(now + span),
            Some(End::At(at)) => terms.expires_at = Some(at),
            None => {}
        }
        put_fields(&mut terms.fields, self.read_fields, true);
        put_fields(&mut terms.fields, self.write_fields, false);
        if !self.departments.is_empty() {
            terms.rows.departments = limit(self.departments);
        }
        if !self.subcompanies.is_empty() {
            terms.rows.subcompanies = limit(self.subcompanies);
        }
        if !self.rows_feed.is_empty() {
            let feeds = limit(self.rows_feed);
            terms.rows.feeds = feeds.iter().map(|name| feed_no(org, name)).collect::<Result<_, _>>()?;
        }
        for (kind, number) in self.rates {
            match kind {
                Rate::Requests => terms.rates.requests = number,
                Rate::Uploads => terms.rates.uploads = number,
                Rate::Eligibility => terms.rates.eligibility = number,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_span_a_day_a_time_or_never() {
        assert_eq!(end("never"), Ok(End::Never));
        assert_eq!(end("90d"), Ok(End::In(Duration::days(90))));
        assert_eq!(end("1y"), Ok(End::In(Duration::days(365))));
        let at = |text: &str| Ok(End::At(text.parse().unwrap()));
        assert_eq!(end("2027-01-31"), at("2027-02-01T00:00:00Z"));
        assert_eq!(end("2027-01-31T08:00:00+02:00"), at("2027-01-31T06:00:00Z"));
        for bad in ["", "d", "90", "-1d", "1.5d", "soon", "90 d", "٣d", "90ä", "2027-02-30"] {
            assert!(end(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_and_rates_name_what_they_limit() {
        let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(fields("members=email, department"), Ok((Resource::Members, names(&["email", "department"]))));
        assert_eq!(fields("member=any"), Ok((Resource::Members, None)));
        assert_eq!(fields("members="), Ok((Resource::Members, names(&[]))));
        assert!(fields("people=email").is_err() && fields("members").is_err());
        assert_eq!(rate("uploads=20"), Ok((Rate::Uploads, Some(20))));
        assert_eq!(rate("uploads=any"), Ok((Rate::Uploads, None)));
        assert!(rate("uploads=-1").is_err() && rate("all=1").is_err());
    }
}
