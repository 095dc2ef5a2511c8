//! Replies piece by piece, as server-sent events.

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use lode_domain::generation::GenerateEvent;
use serde_json::Value;

use super::{
    generation::Choices,
    reply::{Reply, Usage},
};

/// A stream under way.
struct Pieces {
    reply: Reply,
    events: Choices,
    /// If it is asked for.
    usage: Option<Usage>,
    /// Characters that each choice has so far.
    offsets: Vec<usize>,
    stage: Stage,
}

enum Stage {
    Opening,
    Text,
    Over,
}

/// Streams choices that have begun; with `usage`, the last piece counts tokens.
pub(super) fn stream(reply: Reply, events: Choices, usage: Option<Usage>) -> Response {
    let offsets = vec![0; reply.choices as usize];
    let pieces = Pieces { reply, events, usage, offsets, stage: Stage::Opening };
    let frames = stream::unfold(pieces, async |mut pieces| {
        let frame = pieces.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(frame)), pieces))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Proxies that gather a reply before they pass it on are asked not to.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

impl Pieces {
    async fn next(&mut self) -> Option<String> {
        match self.stage {
            Stage::Opening => {
                self.stage = Stage::Text;
                let opening: String =
                    (0..self.reply.choices).filter_map(|n| self.reply.opening(n)).map(|p| self.frame(p)).collect();
                if opening.is_empty() { self.text().await } else { Some(opening) }
            }
            Stage::Text => self.text().await,
            Stage::Over => None,
        }
    }

    async fn text(&mut self) -> Option<String> {
        loop {
            match self.events.next().await {
                Some(Ok((number, event))) => {
                    if let (Some(usage), GenerateEvent::Finished { finished, .. }) = (&mut self.usage, &event) {
                        usage.count(number % self.reply.samples == 0, finished);
                    }
                    let offset = self.offset(number, &event);
                    if let Some(piece) = self.reply.event(number, &event, offset) {
                        return Some(self.frame(piece));
                    }
                }
                Some(Err(error)) => {
                    self.stage = Stage::Over;
                    return Some(format!("data: {}\n\n", error.body()));
                }
                None => {
                    self.stage = Stage::Over;
                    let counted = self.usage.map(|usage| format!("data: {}\n\n", self.reply.counted(usage)));
                    return Some(counted.unwrap_or_default() + "data: [DONE]\n\n");
                }
            }
        }
    }

    /// Where in its choice an event's token begins.
    fn offset(&mut self, number: u32, event: &GenerateEvent) -> usize {
        let Some(offset) = self.offsets.get_mut(number as usize) else { return 0 };
        let begins = *offset;
        if let GenerateEvent::Token { logprobs: Some(logprobs), .. } = event {
            *offset += logprobs.drawn.text.chars().count();
        }
        begins
    }

    /// One event. Where tokens are counted at the end, the other pieces say that they do not count them.
    fn frame(&self, mut piece: Value) -> String {
        if self.usage.is_some() {
            piece["usage"] = Value::Null;
        }
        format!("data: {piece}\n\n")
    }
}
