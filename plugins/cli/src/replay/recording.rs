//! Recordings of a host: fixtures, one a line.

use std::collections::VecDeque;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

use onhand_plugin_bundle::{Fixture, Kind};

use crate::replay::compare::is_known;
use crate::replay::{Known, Recorded, Source};
use crate::terminal::Failure;

/// Most bytes of one line.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Reads the last inputs of a recording, or the ones of one id.
pub(crate) fn read(
    path: &Path,
    kind: Kind,
    last: u64,
    order: Option<&str>,
) -> Result<Source, Failure> {
    let io = |error: std::io::Error| Failure::file(path, &error);
    let mut reader = std::io::BufReader::new(std::fs::File::open(path).map_err(io)?);
    let mut all: VecDeque<Recorded> = VecDeque::new();
    let (mut number, mut others) = (0_u64, 0_u64);
    loop {
        number += 1;
        let mut line = Vec::new();
        let taken =
            reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(io)?;
        if taken == 0 {
            break;
        }
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::usage(format!("{}:{number}: {why}", path.display()))
                .help("a recording has one fixture a line, as `onhand plugin run --help` shows")
        };
        if taken as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(wrong(&format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(&line).map_err(|error| wrong(&error))?.trim();
        if text.is_empty() {
            continue;
        }
        let mut fixture = Fixture::read(text).map_err(|error| wrong(&error))?;
        if fixture.kind() != kind {
            others += 1;
            continue;
        }
        fixture.id.get_or_insert_with(|| format!("line {number}"));
        if order.is_some_and(|order| fixture.id.as_deref() != Some(order)) {
            continue;
        }
        if all.len() as u64 >= last {
            all.pop_front();
        }
        let known = if is_known(kind, &fixture) { Known::Answer } else { Known::Nothing };
        all.push_back(Recorded { fixture, known });
    }
    let mut notes = Vec::new();
    if others > 0 {
        notes.push(format!("{others} inputs of other kinds were left out"));
    }
    Ok(Source { all: all.into(), notes })
}
