//! The live view: how far the run is, its rates, its stock, its latency, and what was found.

use std::collections::VecDeque;
use std::io::{Stderr, stderr};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Gauge, Paragraph, Sparkline};
use ratatui::{Frame, Terminal};

use super::terminal;
use crate::load::{LatestSecond, Phase, Progress};
use crate::report::time_text;

/// Most seconds that are kept for the curves.
const SECONDS_MAX: usize = 600;
/// Fewest lines that show curves.
const LINES_FOR_CURVES: u16 = 14;

/// What the view shows.
pub(super) struct State {
    title: String,
    latest: Progress,
    seconds: VecDeque<LatestSecond>,
    colours: bool,
}

impl State {
    pub(super) fn new(title: &str, colours: bool) -> Self {
        let title = title.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { title, latest: Progress::default(), seconds: VecDeque::new(), colours }
    }

    pub(super) fn take(&mut self, progress: &Progress) {
        if progress.phase == Phase::Load || self.latest.phase == Phase::Setup {
            self.latest = *progress;
        } else {
            // The figures of the load stay while the truth is checked.
            self.latest.phase = progress.phase;
        }
        let Some(second) = progress.latest else { return };
        if self.seconds.back().is_none_or(|last| last.second < second.second) {
            self.seconds.push_back(second);
            if self.seconds.len() > SECONDS_MAX {
                self.seconds.pop_front();
            }
        }
    }

    fn ink(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

/// The live view of one run.
pub(super) struct View {
    state: State,
    terminal: Option<Terminal<CrosstermBackend<Stderr>>>,
}

impl View {
    pub(super) fn new(title: &str) -> Self {
        // https://no-color.org: any value but an empty one.
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let made = Terminal::new(CrosstermBackend::new(stderr())).ok();
        let terminal = made.filter(|_| terminal::take(Box::new(stderr())));
        Self { state: State::new(title, colours), terminal }
    }

    /// Shows a progress; returns false if the terminal can't or may no longer be used.
    pub(super) fn show(&mut self, progress: &Progress) -> bool {
        self.state.take(progress);
        let Some(terminal) = self.terminal.as_mut().filter(|_| terminal::is_taken()) else {
            return false;
        };
        terminal.draw(|frame| draw(frame, &self.state)).is_ok()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        terminal::restore();
    }
}

/// Draws the view on as many lines as there are.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let curves = area.height >= LINES_FOR_CURVES;
    let heights = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(3),
        if curves { Constraint::Fill(1) } else { Constraint::Length(0) },
        Constraint::Length(u16::from(state.latest.stock.is_some())),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [head, progress, figures, middle, stock, truth, foot] =
        Layout::vertical(heights).areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(state.title.as_str(), bold), head);
    draw_progress(frame, progress, state);
    draw_figures(frame, figures, state);
    if curves {
        draw_curves(frame, middle, state);
    }
    if let Some((left, put_in)) = state.latest.stock {
        let share = if put_in == 0 { 0.0 } else { left as f64 / put_in as f64 };
        let gauge = Gauge::default()
            .gauge_style(state.ink(Color::Blue))
            .label(format!("{left} of {put_in} units left"))
            .ratio(share.clamp(0.0, 1.0));
        frame.render_widget(gauge, stock);
    }
    frame.render_widget(truth_line(state), truth);
    let faint = Style::new().add_modifier(Modifier::DIM);
    let text = "an interrupt (Ctrl-C) ends the load; the report is written all the same";
    frame.render_widget(Line::styled(text, faint), foot);
}

fn draw_progress(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let latest = &state.latest;
    let elapsed = latest.elapsed.as_secs_f64();
    let (label, share) = match (latest.phase, latest.of) {
        (Phase::Setup, _) => ("defining SKUs and putting stock in".to_owned(), 0.0),
        (Phase::Truth, _) => ("reading the events and checking the truth".to_owned(), 1.0),
        (Phase::Load, Some(of)) if !of.is_zero() => {
            let of = of.as_secs_f64();
            (format!("{elapsed:.0} of {of:.0} s"), elapsed / of)
        }
        (Phase::Load, _) => (format!("{elapsed:.0} s"), 0.0),
    };
    let gauge = Gauge::default().gauge_style(state.ink(Color::Green)).label(label);
    frame.render_widget(gauge.ratio(share.clamp(0.0, 1.0)), area);
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let latest = &state.latest;
    let time = |time: Option<Duration>| {
        time.map_or("–".to_owned(), |time| time_text(time.as_nanos() as f64))
    };
    let second = state.seconds.back().copied().unwrap_or_default();
    let lost = if latest.lost > 0 { state.ink(Color::Red) } else { Style::new() };
    let late = if second.late > 0 { state.ink(Color::Yellow) } else { Style::new() };
    let lines = vec![
        Line::raw(format!(
            "customers {:>9}   sent {:>10} ({:.0}/s)   in flight {:>6}",
            latest.users, latest.sent, latest.rate, second.in_flight
        )),
        Line::from(vec![
            Span::raw(format!("orders {:>12}   refused {:>7}   ", latest.accepted, latest.refused)),
            Span::styled(format!("no answer {:>5}   ", latest.lost), lost),
            Span::styled(format!("late {:>5}", second.late), late),
        ]),
        Line::raw(format!(
            "latency       p50 {:>10}   p99 {:>10}   p99 service {:>10}",
            time(second.intended_p50),
            time(second.intended_p99),
            time(second.service_p99)
        )),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

/// One curve: its name, its colour, its value in a second, and how a value is written.
type Curve = (&'static str, Color, fn(&LatestSecond) -> u64, fn(u64) -> String);

fn draw_curves(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rate: fn(u64) -> String = |value| format!("{value}/s");
    let curves: [Curve; 4] = [
        ("sent", Color::Blue, |second| second.sent, rate),
        ("accepted", Color::Green, |second| second.accepted, rate),
        ("sold out", Color::Gray, |second| second.sold_out, rate),
        (
            "p99",
            Color::Yellow,
            |second| second.intended_p99.map_or(0, |time| time.as_micros() as u64),
            |value| time_text(value as f64 * 1e3),
        ),
    ];
    let rows: [Rect; 4] = Layout::vertical([Constraint::Fill(1); 4]).areas(area);
    for ((name, colour, value, shown), row) in curves.into_iter().zip(rows) {
        let [label, curve] =
            Layout::horizontal([Constraint::Length(22), Constraint::Fill(1)]).areas(row);
        let skipped = state.seconds.len().saturating_sub(curve.width as usize);
        let values: Vec<u64> = state.seconds.iter().skip(skipped).map(value).collect();
        let most = values.iter().copied().max().unwrap_or(0);
        let now = values.last().copied().unwrap_or(0);
        let text = vec![
            Line::raw(format!("{name:<9} {:>10}", shown(now))),
            Line::raw(format!("     most {:>10}", shown(most))),
        ];
        frame.render_widget(Paragraph::new(text), label);
        let line = Sparkline::default().data(&values).max(most.max(1)).style(state.ink(colour));
        frame.render_widget(line, curve);
    }
}

fn truth_line(state: &State) -> Line<'static> {
    let latest = &state.latest;
    let truth = match latest.phase {
        Phase::Truth => Span::raw("truth: being checked"),
        Phase::Setup | Phase::Load => Span::raw("truth: checked when the load is over"),
    };
    let faults = match latest.faults {
        0 => Span::raw(""),
        count => Span::styled(format!("   faults put in: {count}"), state.ink(Color::Magenta)),
    };
    Line::from(vec![truth, faults])
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;

    fn shown(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, state)).expect("it is drawn");
        terminal.backend().to_string()
    }

    fn running() -> State {
        let mut state = State::new("flash-sale\x1b[2J", true);
        let mut progress = Progress { phase: Phase::Load, ..Progress::default() };
        progress.of = Some(Duration::from_secs(40));
        for second in 0..20 {
            progress.elapsed = Duration::from_secs(second + 1);
            progress.sent += 100 * second;
            progress.latest = Some(LatestSecond {
                second,
                sent: 100 * second,
                accepted: 90 * second,
                sold_out: second / 2,
                in_flight: 12,
                intended_p99: Some(Duration::from_millis(second)),
                ..LatestSecond::default()
            });
            state.take(&progress);
            // The same second told again is one second.
            state.take(&progress);
        }
        assert_eq!(state.seconds.len(), 20);
        state
    }

    /// The view shows how far the run is, its rates, its curves and what was found.
    #[test]
    fn the_view_shows_the_run() {
        let mut state = running();
        state.latest.stock = Some((250, 1_000));
        state.latest.faults = 1;
        let text = shown(&state, 90, 24);
        for wanted in [
            "20 of 40 s",
            "sent      19000",
            "in flight     12",
            "p99   19.00 ms",
            "accepted      1710/s",
            "sold out         9/s",
            "250 of 1000 units left",
            "truth: checked when the load is over   faults put in: 1",
            "Ctrl-C",
            "█",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert!(!text.contains('\x1b'), "a title can't steer the terminal");
    }

    /// The figures of the load stay while the truth is checked.
    #[test]
    fn figures_stay_while_the_truth_is_checked() {
        let mut state = running();
        let phase = Phase::Truth;
        state.take(&Progress { phase, ..Progress::default() });
        let text = shown(&state, 90, 24);
        assert!(text.contains("reading the events and checking the truth"), "{text}");
        assert!(text.contains("sent      19000") && text.contains("being checked"), "{text}");
    }

    /// A terminal of any size is drawn on.
    #[test]
    fn any_size_is_drawn() {
        let state = running();
        for (width, height) in [(1, 1), (5, 3), (20, 8), (40, 14), (200, 60)] {
            shown(&state, width, height);
        }
        shown(&State::new("", false), 80, 24);
    }
}
