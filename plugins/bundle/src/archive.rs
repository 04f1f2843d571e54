//! The file around a plugin: ustar of one canonical form, so that the same entries are the same
//! bytes and nothing can hide in a header.
//!
//! Regular files only, with fixed owner, mode and time, one after the other, and two empty blocks
//! at the end. A header is read by writing the one that it must be and comparing: links, devices,
//! extensions, odd paddings and lying checksums all differ from it.
//!
//! Source: POSIX.1-2017, `pax`, "ustar Interchange Format".

/// Size of a header and of what every entry is padded to, in bytes.
pub(crate) const BLOCK_BYTES: usize = 512;
/// Most bytes of an entry's name.
const NAME_BYTES_MAX: usize = 100;

/// One file in an archive.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
    /// Where its header starts.
    pub(crate) start: usize,
}

/// Why bytes are no archive of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveError {
    /// Where reading stopped, in bytes from the start.
    pub(crate) at: usize,
    pub(crate) why: String,
}

/// Returns the header of a file; its name and size are checked.
fn header(name: &str, bytes: u64) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{bytes:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Adds a file; its name is one of ours and short.
pub(crate) fn append(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    assert!(name.len() <= NAME_BYTES_MAX, "name of {} bytes", name.len());
    archive.extend_from_slice(&header(name, bytes.len() as u64));
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// Ends an archive.
pub(crate) fn end(archive: &mut Vec<u8>) {
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
}

/// Returns the files of an archive, at most so many.
pub(crate) fn read(archive: &[u8], entries_max: usize) -> Result<Vec<Entry<'_>>, ArchiveError> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut at = 0;
    let error = |at: usize, why: &str| Err(ArchiveError { at, why: why.to_owned() });
    loop {
        let Some(block) = archive.get(at..at + BLOCK_BYTES) else {
            return error(at, "it ends in the middle of a header, or without its end mark");
        };
        if block.iter().all(|&byte| byte == 0) {
            let rest = &archive[at..];
            if rest.len() != 2 * BLOCK_BYTES || rest.iter().any(|&byte| byte != 0) {
                return error(at, "something follows its end mark");
            }
            return Ok(entries);
        }
        let (name, size) = fields(block).map_err(|why| ArchiveError { at, why })?;
        if header(name, size) != *block {
            return error(at, "the entry is no plain file of the canonical form");
        }
        if entries.len() == entries_max {
            return error(at, &format!("it has more than {entries_max} entries"));
        }
        let start = at;
        at += BLOCK_BYTES;
        // A size that the file does not have is found here; nothing is allocated for it.
        let left = archive.len() - at;
        let Some(length) = usize::try_from(size).ok().filter(|&length| length <= left) else {
            let why = format!("{name} claims {size} bytes, and {left} are left");
            return Err(ArchiveError { at: start, why });
        };
        let bytes = &archive[at..at + length];
        let padded = length.next_multiple_of(BLOCK_BYTES);
        let padding = archive.get(at + length..at + padded);
        if padding.is_none_or(|padding| padding.iter().any(|&byte| byte != 0)) {
            return error(at + length, "the padding of an entry is not empty");
        }
        at += padded;
        entries.push(Entry { name, bytes, start });
    }
}

/// Returns name and size that a header states.
fn fields(block: &[u8]) -> Result<(&str, u64), String> {
    let name = &block[..NAME_BYTES_MAX];
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES_MAX);
    let name = std::str::from_utf8(&name[..length]).ok().filter(|name| !name.is_empty());
    let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
    let name = name.ok_or("the name of an entry is empty or not plain")?;
    let digits = std::str::from_utf8(&block[124..135]).unwrap_or_default();
    let size = u64::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+'));
    Ok((name, size.ok_or_else(|| format!("the size of {name} is no octal number"))?))
}
