//! A run while it goes on: a live view on a terminal, plain lines elsewhere.
//!
//! Whatever ends the run, the terminal is given back as it was: at the end, after a panic, and on
//! an interrupt.

mod plain;
#[cfg(feature = "view")]
mod screen;
#[cfg(feature = "view")]
mod terminal;

pub use plain::plain_line;

use std::io::{IsTerminal as _, Write as _};

use crate::load::{OnProgress, Phase, Progress};

/// Returns what shows the progress of a run on standard error: a live view if that is a terminal
/// that can show one, else a line for each report. `title` names the run.
pub fn live(title: &str) -> OnProgress {
    #[cfg(feature = "view")]
    {
        let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        if able && std::io::stderr().is_terminal() {
            let mut view = screen::View::new(title);
            return Box::new(move |progress| {
                if !view.show(progress) {
                    show_line(progress);
                }
            });
        }
    }
    #[cfg(not(feature = "view"))]
    let _ = title;
    plain()
}

/// Returns what shows the progress of a run on standard error as lines, on a terminal too.
pub fn plain() -> OnProgress {
    Box::new(show_line)
}

/// Gives the terminal back as it was; what follows is shown as plain lines. Does nothing if there
/// is no live view. For whoever wants to write on it, or ends the process by force.
pub fn restore() {
    #[cfg(feature = "view")]
    terminal::restore();
}

/// Shows one live line on a terminal, plain lines elsewhere.
fn show_line(progress: &Progress) {
    let line = plain_line(progress);
    let mut err = std::io::stderr().lock();
    let shown = if err.is_terminal() {
        let end = if progress.phase == Phase::Load { "" } else { "\n" };
        let begin = if progress.phase == Phase::Setup { "" } else { "\r\x1b[K" };
        write!(err, "{begin}{line}{end}").and_then(|()| err.flush())
    } else {
        writeln!(err, "{line}")
    };
    // Progress that can't be shown is no reason to stop.
    drop(shown);
}
