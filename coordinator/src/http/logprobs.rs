//! Log probabilities in the shapes of the two endpoints.

use lode_domain::generation::{Logprobs, TokenScore};
use serde_json::{Map, Number, Value, json};

/// What the tokenizer says for a part of a character.
const PART: char = '\u{fffd}';

/// Of `/v1/completions`: lists with an entry a token. `start` is where the text begins, in characters of prompt and text.
pub(super) fn of_completion(tokens: &[Logprobs], start: usize) -> Value {
    let mut offset = start;
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(offset);
        offset += token.drawn.text.chars().count();
    }
    // As OpenAI has it, the token that was drawn is among its alternatives.
    let alternatives = |token: &Logprobs| {
        let scored = token.top.iter().chain([&token.drawn]);
        scored.map(|scored| (scored.text.clone(), plain(scored.logprob))).collect::<Map<_, _>>()
    };
    json!({
        "tokens": tokens.iter().map(|token| token.drawn.text.as_str()).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| plain(token.drawn.logprob)).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(alternatives).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// Of `/v1/chat/completions`: an object a token.
pub(super) fn of_chat(tokens: &[Logprobs]) -> Value {
    let token = |token: &Logprobs| {
        let mut json = scored(&token.drawn);
        json["top_logprobs"] = token.top.iter().map(scored).collect();
        json
    };
    json!({"content": tokens.iter().map(token).collect::<Vec<_>>(), "refusal": null})
}

fn scored(scored: &TokenScore) -> Value {
    let bytes = (!scored.text.contains(PART)).then_some(scored.text.as_bytes());
    json!({"token": scored.text, "logprob": plain(scored.logprob), "bytes": bytes})
}

/// A number with the digits that an `f32` has; JSON has no infinite ones: the least that there is stands for them, as OpenAI's -9999 does.
pub(super) fn plain(number: f32) -> Value {
    let finite = number.clamp(-9999.0, f32::MAX);
    finite.to_string().parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<Logprobs> {
        let scored = |text: &str, logprob| TokenScore { token: 0, text: text.into(), logprob };
        let first = Logprobs { drawn: scored(" bé", -0.1), top: vec![scored(" bé", -0.1), scored("x", -2.5)] };
        vec![first, Logprobs { drawn: scored("\u{fffd}", f32::NEG_INFINITY), top: vec![] }]
    }

    #[test]
    fn completions_have_lists() {
        let json = of_completion(&tokens(), 7);
        assert_eq!(json["tokens"], json!([" bé", "\u{fffd}"]));
        assert_eq!(json["token_logprobs"], json!([-0.1, -9999.0]));
        assert_eq!(json["top_logprobs"], json!([{" bé": -0.1, "x": -2.5}, {"\u{fffd}": -9999.0}]));
        assert_eq!(json["text_offset"], json!([7, 10]));
    }

    #[test]
    fn chats_have_an_object_a_token() {
        let json = of_chat(&tokens());
        let first = json!({"token": " bé", "logprob": -0.1, "bytes": [32, 98, 195, 169]});
        let mut expected = first.clone();
        expected["top_logprobs"] = json!([first, {"token": "x", "logprob": -2.5, "bytes": [120]}]);
        assert_eq!(json["content"][0], expected);
        assert_eq!((&json["content"][1]["bytes"], &json["content"][1]["top_logprobs"]), (&Value::Null, &json!([])));
    }
}
