//! The terminal: taken for the live view, and given back exactly once, whatever happens.
//!
//! The view takes the second screen and hides the cursor, and nothing else: keys stay with the
//! terminal, so an interrupt arrives as a signal as ever.

use std::io::Write;
use std::sync::{Mutex, Once, PoisonError};

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};

/// The way to the terminal while it is taken.
static TAKEN: Mutex<Option<Box<dyn Write + Send>>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Takes the terminal behind `out`; returns false if it can't be, or is taken.
pub(super) fn take(mut out: Box<dyn Write + Send>) -> bool {
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The message would be lost with the second screen.
            restore();
            earlier(panic);
        }));
    });
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.is_some() || execute!(out, EnterAlternateScreen, Hide).is_err() {
        return false;
    }
    *taken = Some(out);
    true
}

/// Returns whether the terminal is taken.
pub(super) fn is_taken() -> bool {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Gives the terminal back, if it is taken.
pub(super) fn restore() {
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut out) = taken {
        // A terminal that is gone needs nothing back.
        let _ = execute!(out, LeaveAlternateScreen, Show);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    /// A terminal that keeps what was written to it.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("as above").clone()).expect("UTF-8")
        }
    }

    const TAKE: &str = "\x1b[?1049h\x1b[?25l";
    const GIVE: &str = "\x1b[?1049l\x1b[?25h";

    /// The terminal is given back once: by hand, or by a panic before its message is shown.
    #[test]
    fn the_terminal_is_given_back_once() {
        let paper = Paper::default();
        assert!(take(Box::new(paper.clone())));
        assert!(is_taken() && !take(Box::new(Paper::default())), "it is taken already");
        restore();
        restore();
        assert_eq!(paper.text(), format!("{TAKE}{GIVE}"));
        let paper = Paper::default();
        assert!(take(Box::new(paper.clone())));
        let panicked = std::panic::catch_unwind(|| panic!("a panic for the test"));
        assert!(panicked.is_err() && !is_taken());
        assert_eq!(paper.text(), format!("{TAKE}{GIVE}"));
    }
}
