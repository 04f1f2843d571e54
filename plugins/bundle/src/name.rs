//! Names and versions of plugins, and how a misspelt word finds the right one.

/// Most bytes of a plugin's id.
pub(crate) const ID_BYTES_MAX: usize = 64;
/// Most bytes of a version.
pub(crate) const VERSION_BYTES_MAX: usize = 32;
/// Most changed letters between a word and the one that is suggested instead.
const DISTANCE_MAX: usize = 3;

/// Returns what is wrong with a plugin's id; nothing if it is one.
///
/// Parts of `a-z`, `0-9`, `.`, `_`, `-`, joined by `/`, each starting with a letter or digit.
pub(crate) fn id_fault(id: &str) -> Option<&'static str> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Some("must have 1 to 64 characters");
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fine = id.split('/').all(|part| {
        let bytes = part.as_bytes();
        let inner = |&byte: &u8| plain(byte) || b"._-".contains(&byte);
        bytes.first().is_some_and(|&first| plain(first)) && bytes.iter().all(inner)
    });
    let words = "must be parts of a-z, 0-9, `.`, `_`, `-`, joined by `/`, each starting with a \
                 letter or a digit";
    (!fine).then_some(words)
}

/// Returns what is wrong with a version; nothing if it is `MAJOR.MINOR.PATCH`, which may be
/// followed by `-` or `+` and more.
pub(crate) fn version_fault(version: &str) -> Option<&'static str> {
    if version.len() > VERSION_BYTES_MAX {
        return Some("must have at most 32 characters");
    }
    let end = version.find(['-', '+']).unwrap_or(version.len());
    let (core, rest) = version.split_at(end);
    let number = |part: &str| {
        let digits =
            !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0'))
    };
    let numbers = core.split('.').count() == 3 && core.split('.').all(number);
    let tail = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    let fine = numbers && rest.len() != 1 && rest.bytes().all(tail);
    (!fine).then_some("must be MAJOR.MINOR.PATCH, such as 1.4.0 or 1.4.0-rc.1")
}

/// Returns the known word that is closest to a misspelt one, if one is close.
pub(crate) fn suggestion<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|other| (distance(word, other), *other));
    let (steps, other) = near.min()?;
    (steps <= DISTANCE_MAX && steps * 2 <= other.len().max(2)).then_some(other)
}

/// Returns how many letters must be put in, left out or changed to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    // Names are short; what is longer is no misspelt name.
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = before + usize::from(left != right);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{id_fault, suggestion, version_fault};

    /// Ids are plain words that no path and no log can misread.
    #[test]
    fn ids_are_plain_words() {
        for id in ["tiers", "acme/tiers", "a1/b.c_d-e", &"x".repeat(64)] {
            assert_eq!(id_fault(id), None, "{id}");
        }
        for id in ["", "/a", "a/", "a//b", "../a", "a/..", ".a", "A", "a b", "a\\b", "ä", "-a"] {
            assert!(id_fault(id).is_some(), "{id}");
        }
        assert!(id_fault(&"x".repeat(65)).is_some());
    }

    /// Versions are three plain numbers, and a tail if there is more to say.
    #[test]
    fn versions_have_three_numbers() {
        for version in ["0.0.1", "1.20.300", "1.4.0-rc.1", "1.4.0+build-7"] {
            assert_eq!(version_fault(version), None, "{version}");
        }
        for version in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3-", "v1.2.3", "1.2.3 "]
        {
            assert!(version_fault(version).is_some(), "{version}");
        }
    }

    /// A slip of the finger finds its word, and a foreign word finds none.
    #[test]
    fn misspelt_words_are_found() {
        let known = ["version", "kind", "license"];
        assert_eq!(suggestion("verison", &known), Some("version"));
        assert_eq!(suggestion("licence", &known), Some("license"));
        assert_eq!(suggestion("colour", &known), None);
    }
}
