//! Lines for the operator.

use std::cell::RefCell;
use std::sync::OnceLock;

/// Something is wrong.
pub const ERROR: u32 = 0;
/// Something may be wrong.
pub const WARNING: u32 = 1;
/// Good to know.
pub const INFORMATION: u32 = 2;
/// For whoever looks for a fault.
pub const DETAIL: u32 = 3;

/// Most lines kept where there is no host; the oldest give way.
const KEPT_MAX: usize = 256;

/// Where lines go inside a component.
static HOST: OnceLock<fn(u32, &str)> = OnceLock::new();

thread_local! {
    static KEPT: RefCell<Vec<(u32, String)>> = const { RefCell::new(Vec::new()) };
}

/// Says where lines go; the first word counts.
#[doc(hidden)]
pub fn set_host(host: fn(u32, &str)) {
    let _ = HOST.set(host);
}

/// Logs a line. The host keeps 256 bytes of it and 16 lines of a call, and takes 1,000 fuel for
/// each line and one for each byte.
pub fn line(level: u32, text: &str) {
    if let Some(host) = HOST.get() {
        return host(level, text);
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((level, text.to_owned()));
    });
}

/// Takes the lines that this thread has logged outside a component: level and text, for tests.
pub fn take() -> Vec<(u32, String)> {
    KEPT.with_borrow_mut(std::mem::take)
}

/// Logs a line for the operator: a level of [`log`](mod@crate::log), then what `format!` takes.
///
/// # Example
///
/// ```
/// use onhand_plugin_sdk::log;
///
/// log!(WARNING, "class {} has no tier", 7);
/// assert_eq!(log::take(), [(log::WARNING, "class 7 has no tier".to_owned())]);
/// ```
#[macro_export]
macro_rules! log {
    ($level:ident, $($text:tt)+) => {
        $crate::log::line($crate::log::$level, &::std::format!($($text)+))
    };
}
