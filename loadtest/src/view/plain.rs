//! Progress as one line.

use crate::load::{Phase, Progress};

/// Writes a progress as one line without its end.
pub fn plain_line(progress: &Progress) -> String {
    match progress.phase {
        Phase::Setup => "defining SKUs and putting stock in".to_owned(),
        Phase::Truth => "reading the events and checking the truth".to_owned(),
        Phase::Load => {
            let of = progress.of.map(|of| format!("/{:.0}", of.as_secs_f64())).unwrap_or_default();
            format!(
                "{:.1}{of} s  {} sent ({:.0}/s)  {} orders  {} refused  {} without answer",
                progress.elapsed.as_secs_f64(),
                progress.sent,
                progress.rate,
                progress.accepted,
                progress.refused,
                progress.lost
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Each phase has its line, and none has a sign that steers a terminal.
    #[test]
    fn each_phase_has_its_line() {
        let elapsed = Duration::from_millis(1_500);
        let of = Some(Duration::from_secs(30));
        let (sent, rate) = (900, 600.0);
        let mut progress =
            Progress { phase: Phase::Load, elapsed, of, sent, rate, ..Progress::default() };
        let line = plain_line(&progress);
        assert_eq!(line, "1.5/30 s  900 sent (600/s)  0 orders  0 refused  0 without answer");
        progress.phase = Phase::Truth;
        assert_eq!(plain_line(&progress), "reading the events and checking the truth");
        progress.phase = Phase::Setup;
        assert!(!plain_line(&progress).contains(char::is_control));
    }
}
