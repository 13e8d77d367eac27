//! The roster as CSV, harmless in a spreadsheet.

use std::io::{self, Write};

use super::Listed;
use crate::{fail::Failure, spreadsheet::cell};

/// Writes a head and a record for everybody listed.
pub async fn write(listed: &Listed<'_>, raw: bool, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let head: Vec<&str> = listed.heads().collect();
    write!(out, "{}\r\n", head.join(","))?;
    let mut written: io::Result<()> = Ok(());
    listed
        .roster
        .each(|member| {
            if member.is_listed() && written.is_ok() {
                let cell = |f: &muster_domain::field::FieldId| cell(member.values.get(*f).unwrap_or_default(), raw);
                let cells: Vec<String> = listed.columns.iter().map(cell).collect();
                written = write!(out, "{}\r\n", cells.join(","));
            }
        })
        .await?;
    Ok(written?)
}
