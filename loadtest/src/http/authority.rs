//! Where a target is: scheme, host and port.

use std::fmt;

use crate::error::LoadError;

/// Scheme, host and port of a target, such as `http://127.0.0.1:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    text: String,
    secure: bool,
}

impl Authority {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`; the port is 80 or 443 where it is missing.
    ///
    /// # Errors
    ///
    /// Returns a usage error for another scheme, a path, a user, or a missing host.
    pub fn parse(url: &str) -> Result<Self, LoadError> {
        let wrong = |why: &str| {
            LoadError::usage(format!("target is {url:?}: {why}; want http://HOST:PORT or https://"))
        };
        let plain = url.strip_prefix("http://").map(|rest| (rest, false));
        let known = plain.or_else(|| url.strip_prefix("https://").map(|rest| (rest, true)));
        let (rest, secure) = known.ok_or_else(|| wrong("no http:// or https:// scheme"))?;
        if secure && !cfg!(feature = "tls") {
            return Err(wrong("this build has no TLS; build it with `--features tls`"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let bad =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#');
        if rest.is_empty() || rest.contains(bad) {
            return Err(wrong("it has no host, or more than host and port"));
        }
        let bracket_end = rest.rfind(']').unwrap_or(0);
        match rest[bracket_end..].rsplit_once(':') {
            None => {
                let port = if secure { 443 } else { 80 };
                Ok(Self { text: format!("{rest}:{port}"), secure })
            }
            Some((_, port)) if port.parse::<u16>().is_ok_and(|p| p > 0) => {
                Ok(Self { text: rest.to_owned(), secure })
            }
            Some(_) => Err(wrong("the port is not from 1 to 65535")),
        }
    }

    /// Names an address that is served without TLS.
    pub fn of_addr(addr: std::net::SocketAddr) -> Self {
        Self { text: addr.to_string(), secure: false }
    }

    /// Returns `HOST:PORT`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name or address alone, without brackets.
    pub fn host(&self) -> &str {
        let host = self.text.rsplit_once(':').map_or(self.text.as_str(), |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Returns whether TLS is spoken.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target is host and port under http or https and nothing more.
    #[test]
    fn targets_are_read_and_checked() {
        let read = |url: &str| Authority::parse(url).map(|a| a.text).map_err(|e| e.to_string());
        assert_eq!(read("http://127.0.0.1:8080"), Ok("127.0.0.1:8080".into()));
        assert_eq!(read("http://localhost/"), Ok("localhost:80".into()));
        assert_eq!(read("http://[::1]:99"), Ok("[::1]:99".into()));
        assert_eq!(read("http://[::1]"), Ok("[::1]:80".into()));
        let ipv6 = Authority::parse("http://[::1]:99").expect("well formed");
        assert_eq!((ipv6.host(), ipv6.to_string()), ("::1", "http://[::1]:99".into()));
        for bad in [
            "",
            "127.0.0.1:8080",
            "http://",
            "http://a/b",
            "http://u@a",
            "http://a:0",
            "http://a:x",
            "http://a:70000",
            "http://a\r\nb",
        ] {
            assert!(
                read(bad).is_err_and(|e| e.contains("want http://HOST:PORT or https://")),
                "{bad:?}"
            );
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn secure_targets_have_a_port_of_their_own() {
        let read = |url: &str| Authority::parse(url).map(|a| (a.to_string(), a.is_secure()));
        let at = |url: &str, secure| Some((url.to_owned(), secure));
        assert_eq!(read("https://a").ok(), at("https://a:443", true));
        assert_eq!(read("https://a:8443/").ok(), at("https://a:8443", true));
        assert_eq!(read("http://a").ok(), at("http://a:80", false));
    }
}
