//! `lode chat`: a conversation in the terminal.

use std::io::{IsTerminal as _, stdin};

use anyhow::Context as _;
use futures::StreamExt as _;
use lode_client::{Client, FaultKind};
use lode_domain::{
    chat::ChatMessage,
    generation::{FinishReason, Finished, GenerateEvent, GenerateRequest},
    id::ModelName,
    intervention::{Condition, ForcingValue, Positions, Rank, Target},
    sampling::Sampling,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use super::{
    generate::{ConceptArg, ConditionArgs, DEFAULT_K, SamplingArgs, needs_index},
    session::on_workers,
};
use crate::{
    args::{Global, ModelArg},
    output::{note, write},
};

/// Talk with a model, with the experts of concepts forced or not
///
/// Models with a chat template get the conversation as that writes it; others continue the text so far. What you say is read line by
/// line; lines that begin with a slash are commands, /help lists them. Ctrl-C ends a reply, or the chat.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode chat --model qwen
  lode chat --model qwen --concept topic/sea:100 --temperature 0.7 --seed 7
  lode chat --model qwen --concept topic/sea --compare --system 'Answer in one sentence.'")]
pub(crate) struct Args {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Show before each reply what the same seed gives with nothing forced; the conversation goes on with the other.
    #[arg(long)]
    compare: bool,
}

const HELP: &str = "/concept GROUP/NAME[:K]  force one more concept
/plain                   force nothing
/compare                 show replies without and with the conditions, or no more
/seed N                  draw the next replies with another seed
/reset                   begin a new conversation
/quit                    end";

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let (conditions, sampling) = (args.conditions.conditions()?, args.sampling.sampling()?);
    if !conditions.is_empty() {
        needs_index(global)?;
    }
    let system = args.system.map(|content| ChatMessage { role: "system".to_owned(), content });
    on_workers(global, &args.model, async |client| {
        let chat = Chat {
            client,
            model: args.model.name().clone(),
            said: system.iter().cloned().collect(),
            system,
            conditions,
            sampling,
            compares: args.compare,
        };
        chat.run().await
    })
    .await
}

/// A conversation under way.
struct Chat {
    client: Client,
    model: ModelName,
    system: Option<ChatMessage>,
    said: Vec<ChatMessage>,
    conditions: Vec<Condition>,
    sampling: Sampling,
    compares: bool,
}

/// What a line asks for.
#[derive(Debug, PartialEq)]
enum Line {
    Nothing,
    Say(String),
    Force(ConceptArg),
    Plain,
    Compare,
    Seed(u64),
    Reset,
    Help,
    Quit,
    Unknown(String),
}

impl Line {
    fn read(text: &str) -> Self {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let unknown = |problem: String| Self::Unknown(format!("{word}: {problem}"));
        match (word, rest.trim()) {
            ("", _) => Self::Nothing,
            ("/concept", concept) => concept.parse().map_or_else(|error| unknown(format!("{error}")), Self::Force),
            ("/seed", seed) => seed.parse().map_or_else(|_| unknown(format!("`{seed}` is not a number")), Self::Seed),
            ("/plain", "") => Self::Plain,
            ("/compare", "") => Self::Compare,
            ("/reset", "") => Self::Reset,
            ("/help", _) => Self::Help,
            ("/quit" | "/exit", "") => Self::Quit,
            (command, _) if command.starts_with('/') => {
                unknown("there is no such command; /help lists them".to_owned())
            }
            _ => Self::Say(text.to_owned()),
        }
    }
}

impl Chat {
    async fn run(mut self) -> anyhow::Result<()> {
        note(format_args!("talking with {}; /help lists commands, /quit ends", self.model));
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = next(&mut lines).await? {
            match Line::read(&line) {
                Line::Nothing => {}
                Line::Say(text) => self.say(text).await?,
                Line::Force(ConceptArg { concept, k }) => {
                    let (k, rank) = (k.unwrap_or(DEFAULT_K), Rank::default());
                    note(format_args!("from now on {concept} is forced, k = {k}"));
                    let (recipe, criterion) = Default::default();
                    let target = Target::Experts { concept, recipe, k, rank, criterion };
                    let (value, positions) = (ForcingValue::default(), Positions::default());
                    self.conditions.push(Condition { target, value, positions });
                }
                Line::Plain => self.conditions.clear(),
                Line::Compare => self.compares = !self.compares,
                Line::Seed(seed) => self.sampling.seed = seed,
                Line::Reset => self.said = self.system.iter().cloned().collect(),
                Line::Help => note(HELP),
                Line::Quit => break,
                Line::Unknown(problem) => note(problem),
            }
        }
        Ok(())
    }

    /// Says something and writes what the model answers. A request that cannot be done leaves the conversation as it was.
    async fn say(&mut self, text: String) -> anyhow::Result<()> {
        self.said.push(ChatMessage { role: "user".to_owned(), content: text });
        match self.answer().await {
            Ok(answer) => self.said.push(ChatMessage { role: "assistant".to_owned(), content: answer }),
            // Nobody reads any more.
            Err(error) if crate::output::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                self.said.pop();
                note(format_args!("error: {error:#}"));
            }
        }
        Ok(())
    }

    async fn answer(&self) -> anyhow::Result<String> {
        let prompt = match self.client.render_chat(&self.model, self.said.clone()).await {
            // A model that was not made for conversations goes on with what was said so far.
            Err(fault) if fault.kind == FaultKind::Precondition => plain(&self.said),
            rendered => rendered?,
        };
        let request = GenerateRequest {
            model: self.model.clone(),
            prompt,
            conditions: self.conditions.clone(),
            observe: Vec::new(),
            sampling: self.sampling.clone(),
            samples: 1,
            guide: None,
        };
        if self.compares && !self.conditions.is_empty() {
            write("without: ")?;
            self.generate(GenerateRequest { conditions: Vec::new(), ..request.clone() }).await?;
            write("with:    ")?;
        }
        self.generate(request).await
    }

    /// Writes a reply as it comes; Ctrl-C ends it.
    async fn generate(&self, request: GenerateRequest) -> anyhow::Result<String> {
        let mut events = self.client.generate(request).await?;
        let mut text = String::new();
        let mut ended: Option<Finished> = None;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                signal = tokio::signal::ctrl_c() => {
                    signal?;
                    break;
                }
            };
            match event.transpose()? {
                Some(GenerateEvent::Token { text: more, .. }) => {
                    // Replies begin in many ways; lines do not begin with blanks.
                    let more = if text.is_empty() { more.trim_start() } else { &more };
                    write(more)?;
                    text.push_str(more);
                }
                Some(GenerateEvent::Finished { finished, .. }) => ended = Some(finished),
                None => break,
            }
        }
        write("\n")?;
        if let Some(finished) = ended {
            if finished.reason == FinishReason::NotFinite {
                anyhow::bail!("the forced values drove the model out of its numbers: /plain forces nothing");
            }
            if finished.coverage.units > 0 && stdin().is_terminal() {
                let coverage = finished.coverage;
                note(format_args!(
                    "(forced {} units in {} layers at {} token positions)",
                    coverage.units, coverage.layers, coverage.positions
                ));
            }
        }
        Ok(text)
    }
}

/// The next line that was typed; `None` at the end, or at Ctrl-C.
async fn next(lines: &mut Lines<BufReader<Stdin>>) -> anyhow::Result<Option<String>> {
    if stdin().is_terminal() {
        write("> ")?;
    }
    tokio::select! {
        line = lines.next_line() => line.context("what is typed cannot be read"),
        signal = tokio::signal::ctrl_c() => signal.map(|()| None).map_err(Into::into),
    }
}

/// All that was said, one after the other, for a model that continues texts.
fn plain(said: &[ChatMessage]) -> String {
    said.iter().map(|message| message.content.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_commands() {
        assert_eq!(Line::read("  Hello there "), Line::Say("Hello there".into()));
        assert_eq!(
            Line::read("/concept a/b:7"),
            Line::Force(ConceptArg { concept: "a/b".parse().unwrap(), k: Some(7) })
        );
        assert_eq!(Line::read("/seed 12"), Line::Seed(12));
        assert_eq!(
            [Line::read(""), Line::read("/quit"), Line::read("/plain")],
            [Line::Nothing, Line::Quit, Line::Plain]
        );
        for (text, said) in [("/concept sea", "GROUP/NAME"), ("/seed x", "not a number"), ("/sing", "/help")] {
            let Line::Unknown(problem) = Line::read(text) else { panic!("{text}") };
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn a_model_without_a_template_goes_on_with_the_text() {
        let message = |content: &str| ChatMessage { role: "user".into(), content: content.into() };
        assert_eq!(plain(&[message("Once "), message(" upon"), message("a time")]), "Once upon a time");
    }
}
