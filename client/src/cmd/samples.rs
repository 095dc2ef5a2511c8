//! The samples of a generation request, as they come.

use std::time::Instant;

use futures::StreamExt as _;
use lode_client::Events;
use lode_domain::generation::{FinishReason, Finished, GenerateEvent, GenerateRequest, Logprobs, TokenScore};

use crate::output::{Cell, Format, Report, Table, note, print, thousands, write};

/// Samples under way.
pub(super) struct Samples {
    prompt: String,
    /// Where samples are compared: which these are.
    side: Option<&'static str>,
    format: Format,
    conditioned: bool,
    /// What is told with tokens.
    told: Told,
    started: Instant,
    samples: Vec<Sample>,
}

/// What is told with tokens.
struct Told {
    logprobs: bool,
    /// Concepts that are observed.
    observed: Vec<String>,
}

#[derive(Default)]
struct Sample {
    text: String,
    tokens: Vec<Token>,
    finished: Option<Finished>,
}

/// What was told with a token.
struct Token {
    token: u32,
    logprobs: Option<Logprobs>,
    observed: Vec<f32>,
}

impl Samples {
    pub(super) fn new(request: &GenerateRequest, format: Format) -> Self {
        Self {
            prompt: request.prompt.clone(),
            side: None,
            format,
            conditioned: !request.conditions.is_empty(),
            told: Told {
                logprobs: request.sampling.logprobs.is_some(),
                observed: request.observe.iter().map(|observe| observe.concept.to_string()).collect(),
            },
            started: Instant::now(),
            samples: (0..request.samples).map(|_| Sample::default()).collect(),
        }
    }

    /// Those of one side of a comparison.
    pub(super) fn of_side(request: &GenerateRequest, format: Format, side: &'static str) -> Self {
        Self { side: Some(side), ..Self::new(request, format) }
    }

    /// Writes the samples: one for people token by token, several each as it completes, for programs all at the end.
    pub(super) async fn collect(mut self, events: Events<GenerateEvent>) -> anyhow::Result<()> {
        self.gather(events).await?;
        if self.format != Format::Table {
            print(&self.report(), self.format)?;
        }
        self.conclude()
    }

    /// The same without what is for programs.
    pub(super) async fn gather(&mut self, mut events: Events<GenerateEvent>) -> anyhow::Result<()> {
        if self.streams() {
            write(&format!("{}{}", self.label(), self.prompt))?;
        }
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                signal = tokio::signal::ctrl_c() => {
                    signal?;
                    if self.streams() {
                        write("\n")?;
                    }
                    anyhow::bail!("interrupted");
                }
            };
            match event.transpose()? {
                Some(event) => self.take(event)?,
                None => break,
            }
        }
        if self.samples.iter().any(|sample| sample.finished.is_none()) {
            anyhow::bail!("the cluster ended the stream before the text was complete: try again");
        }
        Ok(())
    }

    /// Says what was forced.
    ///
    /// # Errors
    /// If that was too much.
    pub(super) fn conclude(&self) -> anyhow::Result<()> {
        note(format_args!("{}{}", self.label(), self.summary()));
        if self.finished().any(|finished| finished.reason == FinishReason::NotFinite) {
            anyhow::bail!("the forced values drove the model out of its numbers: force fewer units, or smaller values");
        }
        Ok(())
    }

    /// What stands before lines of one side of a comparison.
    fn label(&self) -> String {
        self.side.map(|side| format!("{:9}", format!("{side}:"))).unwrap_or_default()
    }

    fn streams(&self) -> bool {
        self.format == Format::Table && self.samples.len() == 1
    }

    fn take(&mut self, event: GenerateEvent) -> anyhow::Result<()> {
        let (streams, label) = (self.streams(), self.label());
        let number = match event {
            GenerateEvent::Token { sample, .. } | GenerateEvent::Finished { sample, .. } => sample as usize,
        };
        let sample =
            self.samples.get_mut(number).ok_or_else(|| anyhow::anyhow!("the cluster sent a sample too many"))?;
        match event {
            GenerateEvent::Token { token, text, logprobs, observed, .. } => {
                if streams {
                    write(&text)?;
                }
                sample.text.push_str(&text);
                sample.tokens.push(Token { token, logprobs, observed });
            }
            GenerateEvent::Finished { finished, .. } => {
                sample.finished = Some(finished);
                if streams {
                    write("\n")?;
                } else if self.format == Format::Table {
                    let text = &sample.text;
                    write(&format!("{label}[{}] {}{text}\n", number + 1, self.prompt))?;
                }
            }
        }
        Ok(())
    }

    fn finished(&self) -> impl Iterator<Item = &Finished> {
        self.samples.iter().filter_map(|sample| sample.finished.as_ref())
    }

    fn report(&self) -> Report {
        Self::compared(std::slice::from_ref(self))
    }

    /// The samples of all sides in one table.
    pub(super) fn compared(sides: &[Self]) -> Report {
        let tells = sides.iter().any(|side| side.told.logprobs || !side.told.observed.is_empty());
        let columns = [
            "sample",
            "prompt",
            "text",
            "finish_reason",
            "prompt_tokens",
            "generated_tokens",
            "forced_units",
            "forced_layers",
            "forced_positions",
            "forced_writes",
        ];
        let is_compared = sides.iter().any(|side| side.side.is_some());
        let first: &[&'static str] = if is_compared { &["condition"] } else { &[] };
        let last: &[&'static str] = if tells { &["tokens"] } else { &[] };
        let mut table = Table::new("samples", &[first, &columns[..], last].concat());
        sides.iter().for_each(|side| side.rows(&mut table, tells));
        Report::of(table)
    }

    /// A row a sample.
    fn rows(&self, table: &mut Table, tells: bool) {
        for (number, sample) in (1u32..).zip(&self.samples) {
            let Some(finished) = sample.finished else { continue };
            let coverage = finished.coverage;
            let mut row: Vec<Cell> = self.side.map(Cell::from).into_iter().collect();
            row.extend([
                number.into(),
                self.prompt.clone().into(),
                sample.text.clone().into(),
                reason(finished.reason).into(),
                finished.prompt_tokens.into(),
                finished.generated_tokens.into(),
                coverage.units.into(),
                coverage.layers.into(),
                coverage.positions.into(),
                coverage.writes.into(),
            ]);
            if tells {
                row.push(self.told.tokens(&sample.tokens).into());
            }
            table.push(row);
        }
    }

    /// What was forced, and how fast.
    fn summary(&self) -> String {
        let most = |count: fn(&Finished) -> u32| self.finished().map(count).max().unwrap_or(0);
        let sum = |count: fn(&Finished) -> u64| thousands(self.finished().map(count).sum());
        let forced = if self.conditioned {
            format!(
                "forced {} units in {} layers at {} token positions ({} values written)",
                most(|finished| finished.coverage.units),
                most(|finished| finished.coverage.layers),
                sum(|finished| finished.coverage.positions.into()),
                sum(|finished| finished.coverage.writes)
            )
        } else {
            "nothing forced".to_owned()
        };
        let tokens: u64 = self.finished().map(|finished| u64::from(finished.generated_tokens)).sum();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = tokens as f64 / seconds.max(1e-9);
        format!("{forced}; {tokens} tokens in {seconds:.2} s, {rate:.0} tokens/s")
    }
}

impl Told {
    /// A row a token, with the columns that were asked for.
    fn tokens(&self, tokens: &[Token]) -> Table {
        let of_logprobs: &[&'static str] = if self.logprobs { &["text", "logprob", "top"] } else { &[] };
        let of_observed: &[&'static str] = if self.observed.is_empty() { &[] } else { &["observed"] };
        let mut table = Table::new("tokens", &[&["token"], of_logprobs, of_observed].concat());
        for Token { token, logprobs, observed } in tokens {
            let mut row: Vec<Cell> = vec![(*token).into()];
            if self.logprobs {
                let drawn = logprobs.as_ref().map(|logprobs| &logprobs.drawn);
                row.push(drawn.map(|drawn| drawn.text.clone()).into());
                row.push(drawn.map(|drawn| drawn.logprob).into());
                row.push(logprobs.as_ref().map(|logprobs| scored(&logprobs.top)).into());
            }
            if !self.observed.is_empty() {
                let mut strengths = Table::new("observed", &["concept", "strength"]);
                for (concept, strength) in self.observed.iter().zip(observed) {
                    strengths.push(vec![concept.clone().into(), (*strength).into()]);
                }
                row.push(strengths.into());
            }
            table.push(row);
        }
        table
    }
}

fn scored(top: &[TokenScore]) -> Table {
    let mut table = Table::new("top", &["token", "text", "logprob"]);
    for scored in top {
        table.push(vec![scored.token.into(), scored.text.clone().into(), scored.logprob.into()]);
    }
    table
}

fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::EndOfText => "end-of-text",
        FinishReason::Stop => "stop",
        FinishReason::NotFinite => "not-finite",
    }
}
