//! The roster as CSV, harmless in a spreadsheet.

use std::io::{self, Write};

use muster_domain::spreadsheet::record;

use super::Listed;
use crate::fail::Failure;

/// Writes a head and a record for everybody listed.
pub async fn write(listed: &Listed<'_>, raw: bool, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    out.write_all(record(listed.heads(), true).as_bytes())?;
    let mut written: io::Result<()> = Ok(());
    listed
        .roster
        .each(|member| {
            if member.is_listed() && written.is_ok() {
                let values = listed.columns.iter().map(|f| member.values.get(*f).unwrap_or_default());
                written = out.write_all(record(values, raw).as_bytes());
            }
        })
        .await?;
    Ok(written?)
}
