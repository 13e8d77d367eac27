//! A form with a payload in it: the file is put down, since what is said of it may stand behind it.

use std::{
    io::{self, BufReader},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::HeaderMap,
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use muster_domain::{guard::Asked, settings::Mode};

use super::{
    coming::{Coming, Said},
    mapping::from_text,
    source::{Expected, Source, counted, spool, too_large},
};
use crate::{
    api::caller::Caller,
    problem::{INVALID, MEDIA_TYPE, Problem, Result, TOO_LARGE, UNREADABLE},
};

/// The longest text of a form's field, in bytes; the file is another matter.
const LONGEST_FIELD: usize = 4 << 10;

/// A form with the payload as `file`; its other fields say what the address can say.
///
/// # Errors
/// If it is no such form, or says what makes no sense.
pub async fn multipart(
    caller: &Caller,
    said: Said,
    request: Request,
    headers: &HeaderMap,
    most: u64,
) -> Result<Coming> {
    let digest = Expected::of(headers)?;
    let (parts, body) = request.into_parts();
    let failed = Arc::new(Mutex::new(None));
    let kept = failed.clone();
    let pieces = counted(body, most + (1 << 20), digest).map(move |piece| {
        piece.map_err(|problem| {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
            io::Error::other("the body failed")
        })
    });
    let request = Request::from_parts(parts, Body::from_stream(pieces));
    let read = parts_of(caller, said, request, most).await;
    match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(problem) => Err(problem),
        None => read,
    }
}

fn no_form(_: MultipartError) -> Problem {
    Problem::new(&UNREADABLE, "The form cannot be read, or was cut off: each part needs its boundary and a name.")
}

async fn parts_of(caller: &Caller, mut said: Said, request: Request, most: u64) -> Result<Coming> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| Problem::new(&MEDIA_TYPE, "multipart/form-data needs a boundary."))?;
    let mut found = None;
    while let Some(mut field) = form.next_field().await.map_err(no_form)? {
        let name = field.name().unwrap_or("").to_owned();
        if name == "file" {
            if found.is_some() {
                return Err(Problem::new(&INVALID, "A form has one `file`."));
            }
            let file_name = field.file_name().map(str::to_owned);
            let mut size = 0;
            let pieces = futures_util::stream::poll_fn(move |cx| field.poll_next_unpin(cx)).map(move |piece| {
                let piece = piece.map_err(no_form)?;
                size += piece.len() as u64;
                if size > most { Err(too_large(most)) } else { Ok(piece) }
            });
            found = Some((spool(caller, Box::pin(pieces)).await?, file_name));
            continue;
        }
        let text = text_of(&mut field, &name).await?;
        take_field(caller, &mut said, &name, text.trim())?;
    }
    let Some((file, file_name)) = found else {
        return Err(Problem::new(&INVALID, "The form has no part named `file`."));
    };
    let source = Source::Spooled(BufReader::with_capacity(1 << 18, file));
    Ok(Coming { said, format: None, file_name, now: false, source })
}

/// The text of a field, of which there is never more in memory than a field may have.
async fn text_of(field: &mut Field<'_>, name: &str) -> Result<String> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(no_form)? {
        if text.len() + piece.len() > LONGEST_FIELD {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(Problem::new(&TOO_LARGE, format!("The form's {shown:?} is longer than 4 KiB.")));
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).map_err(|_| Problem::new(&UNREADABLE, "The form has a field that is not written in UTF-8."))
}

fn take_field(caller: &Caller, said: &mut Said, name: &str, text: &str) -> Result<()> {
    let invalid = || Problem::new(&INVALID, format!("The form's `{name}` has no such value."));
    let yes = || text.parse::<bool>().map_err(|_| invalid());
    match name {
        "mode" => said.mode = Some(Mode::from_word(text).ok_or_else(invalid)?),
        "feed" => said.feed = Some(text.to_owned()),
        "sheet" => said.sheet = Some(text.to_owned()),
        "mapping" => said.mapping = from_text(text, caller)?,
        "dry_run" => said.dry_run = yes()?,
        "apply" if yes()? => said.asked = Some(Asked::Apply),
        "hold" if yes()? => said.asked = Some(Asked::Hold),
        "apply" | "hold" => {}
        "expected_rows" => said.expected_rows = Some(text.parse().map_err(|_| invalid())?),
        "as_of" => {
            said.as_of = Some(DateTime::parse_from_rfc3339(text).map_err(|_| invalid())?.with_timezone(&Utc));
        }
        _ => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(Problem::new(
                &INVALID,
                format!(
                    "The form has a part {shown:?}, which is not taken here; there are: file, mode, feed, apply, hold, dry_run, \
                     expected_rows, as_of, sheet and mapping."
                ),
            ));
        }
    }
    Ok(())
}
