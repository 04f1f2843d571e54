//! Sections and records of a frame's payload.

use crate::bytes::{all_zero, u16_at, u32_at, u64_at};
use crate::chain::Located;
use crate::failure::{Broken, broken};
use crate::frame::Frame;

/// Length of a section's header in bytes.
const SECTION_HEADER: usize = 24;

/// Takes what a payload holds, in order.
pub(crate) trait RecordSink {
    /// A section begins.
    fn begin(&mut self, shard: u16, time: u64) -> Result<(), Box<Broken>>;
    /// A record of the section; it is at least its prefix long.
    fn record(&mut self, shard: u16, time: u64, seq: u64, bytes: &[u8]) -> Result<(), Box<Broken>>;
    /// The section ends.
    fn end(&mut self, shard: u16, time: u64) -> Result<(), Box<Broken>>;
}

/// A section's header.
struct Section {
    shard: u16,
    time: u64,
    records: u32,
    /// End of its records in the payload.
    end: usize,
}

/// Hands every section and record of a payload to `sink`; counts and lengths must fit exactly.
pub(crate) fn read(
    frame: &Frame,
    payload: &[u8],
    sink: &mut dyn RecordSink,
) -> Result<(), Located> {
    let mut at = 0;
    let mut seq = frame.seq;
    for _ in 0..frame.sections {
        let wrong = |broken| Located { seq: 0, payload_offset: at, broken };
        let section = header(payload, at).map_err(wrong)?;
        sink.begin(section.shard, section.time).map_err(wrong)?;
        let mut record_at = at + SECTION_HEADER;
        for _ in 0..section.records {
            let wrong = |broken| Located { seq, payload_offset: record_at, broken };
            let length = record_length(payload, record_at, section.end).map_err(wrong)?;
            let bytes = &payload[record_at..record_at + length];
            sink.record(section.shard, section.time, seq, bytes).map_err(wrong)?;
            record_at += length;
            seq += 1;
        }
        if record_at != section.end {
            let left = section.end - record_at;
            let reason = format!("section has {left} bytes behind its {} records", section.records);
            return Err(wrong(broken("I13", reason)));
        }
        let last = (seq - 1, at);
        sink.end(section.shard, section.time).map_err(|broken| Located {
            seq: last.0,
            payload_offset: last.1,
            broken,
        })?;
        at = section.end;
    }
    let records = seq - frame.seq;
    if at != payload.len() || records != u64::from(frame.records) {
        let reason = format!(
            "frame says {} records in {} bytes, its sections hold {records} in {at}",
            frame.records,
            payload.len()
        );
        return Err(Located { seq: 0, payload_offset: at, broken: broken("I13", reason) });
    }
    Ok(())
}

fn header(payload: &[u8], at: usize) -> Result<Section, Box<Broken>> {
    let left = payload.len() - at;
    if left < SECTION_HEADER {
        return Err(broken("I13", format!("section header has {left} of {SECTION_HEADER} bytes")));
    }
    let bytes = &payload[at..at + SECTION_HEADER];
    if !all_zero(&bytes[2..4]) || !all_zero(&bytes[12..16]) {
        return Err(broken("I13", "reserved bytes of a section are not zero".to_owned()));
    }
    let (records, length) = (u32_at(bytes, 4), u32_at(bytes, 8) as usize);
    if records == 0 {
        return Err(broken("I13", "section has no records".to_owned()));
    }
    if length > left - SECTION_HEADER {
        let reason = format!("section of {length} bytes reaches past the frame's payload");
        return Err(broken("I13", reason));
    }
    Ok(Section {
        shard: u16_at(bytes, 0),
        time: u64_at(bytes, 16),
        records,
        end: at + SECTION_HEADER + length,
    })
}

fn record_length(payload: &[u8], at: usize, end: usize) -> Result<usize, Box<Broken>> {
    let left = end - at;
    if left < 4 {
        return Err(broken("I13", format!("record prefix has {left} of 4 bytes")));
    }
    let length = u16_at(payload, at) as usize;
    if length < 4 || length > left {
        let reason = format!("record is {length} bytes long, outside 4..={left}");
        return Err(broken("I13", reason));
    }
    Ok(length)
}
