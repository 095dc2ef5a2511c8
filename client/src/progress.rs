//! Progress on stderr: bars on a terminal, a plain line now and then elsewhere.

use std::{
    io::{self, IsTerminal as _},
    sync::LazyLock,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use lode_domain::event::Progress;
use tracing_subscriber::fmt::MakeWriter;

use crate::output::{note, thousands};

/// How often a plain line is said where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// All bars of the program; lines said in between are written above them.
pub(crate) fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// Runs `work` under a spinner that says `what`.
pub(crate) async fn spinner<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        note(what);
    }
    let bar = bars().add(ProgressBar::new_spinner().with_message(what.to_owned()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    bar.finish_and_clear();
    bars().remove(&bar);
    done
}

/// How far a mining job is.
pub(crate) struct Mining {
    bar: ProgressBar,
    concepts: u32,
    settled: u32,
    started: Instant,
    said: Instant,
}

impl Mining {
    /// A bar for a job of `concepts` concepts.
    pub(crate) fn start(concepts: u32) -> Self {
        let bar = bars().add(ProgressBar::new(0).with_prefix("mining"));
        let template = "{prefix} {wide_bar:.cyan/dim} {human_pos}/{human_len} tokens{pace}, {msg} concepts";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let pace = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                if state.pos() > 0 {
                    let (rate, left) = (thousands(state.per_sec() as u64), state.eta().as_secs());
                    // A line that cannot be written is not worth an error.
                    let _ = write!(to, ", {rate}/s, {} left", duration(left));
                }
            };
            bar.set_style(style.with_key("pace", pace).progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        let now = Instant::now();
        if !io::stderr().is_terminal() {
            note(format_args!("mining {concepts} concepts"));
        }
        let mining = Self { bar, concepts, settled: 0, started: now, said: now };
        mining.tell_concepts();
        mining
    }

    /// Forward passes went on.
    pub(crate) fn tokens(&mut self, progress: &Progress) {
        self.bar.set_length(progress.tokens_total);
        self.bar.set_position(progress.tokens_done);
        if !io::stderr().is_terminal() && self.said.elapsed() >= PLAIN_EVERY {
            self.said = Instant::now();
            let (done, total) = (progress.tokens_done, progress.tokens_total);
            let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            let left = duration((total.saturating_sub(done) as f64 / rate.max(1e-9)) as u64);
            let (done, total, rate) = (thousands(done), thousands(total), thousands(rate as u64));
            let (settled, concepts) = (self.settled, self.concepts);
            note(format_args!("mining: {done}/{total} tokens, {rate}/s, {left} left, {settled}/{concepts} concepts"));
        }
    }

    /// A concept was indexed, or failed for good.
    pub(crate) fn concept(&mut self) {
        self.settled += 1;
        self.tell_concepts();
    }

    fn tell_concepts(&self) {
        self.bar.set_message(format!("{}/{}", self.settled, self.concepts));
    }
}

/// How far a command is that does many things alike.
pub(crate) struct Steps {
    bar: ProgressBar,
    what: &'static str,
    /// Done before this run began.
    before: usize,
    started: Instant,
    said: Instant,
}

impl Steps {
    /// A bar for `total` things, of which `done` are done from before.
    pub(crate) fn start(what: &'static str, total: usize, done: usize) -> Self {
        let bar = bars().add(ProgressBar::new(total as u64).with_prefix(what));
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {human_pos}/{human_len}{left}") {
            let left = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                if state.pos() > 0 {
                    // A line that cannot be written is not worth an error.
                    let _ = write!(to, ", {} left", duration(state.eta().as_secs()));
                }
            };
            bar.set_style(style.with_key("left", left).progress_chars("━╸─"));
        }
        bar.set_position(done as u64);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(200));
        if done > 0 {
            note(format_args!("{what}: {done} of {total} are there from before"));
        } else if !io::stderr().is_terminal() {
            note(format_args!("{what}: {total}"));
        }
        let now = Instant::now();
        Self { bar, what, before: done, started: now, said: now }
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.bar.inc(1);
        if !io::stderr().is_terminal() && self.said.elapsed() >= PLAIN_EVERY {
            self.said = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let own = done.saturating_sub(self.before as u64).max(1) as f64;
            let left = self.started.elapsed().as_secs_f64() / own * total.saturating_sub(done) as f64;
            note(format_args!("{}: {done}/{total}, {} left", self.what, duration(left as u64)));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        bars().remove(&self.bar);
    }
}

/// `42 s`, `3 min 20 s`, `2 h 5 min`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

impl Drop for Mining {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        bars().remove(&self.bar);
    }
}

/// Log lines, written above the bars.
pub(crate) struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!([0, 59, 200, 7500].map(duration), ["0 s", "59 s", "3 min 20 s", "2 h 5 min"]);
    }
}
