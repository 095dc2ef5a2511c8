//! Conversations written out as a model wants them.
//!
//! The template comes with a worker's registration, and the coordinator renders it: a conversation that the template does not take is
//! refused before a worker is bothered, and what a worker gets is a text, whoever asked and how.

use std::io;

use lode_domain::{
    chat::{ChatMessage, ChatTemplate},
    id::ModelName,
};
use lode_proto::Fault;
use minijinja::{
    Environment, Error, ErrorKind, context,
    syntax::SyntaxConfig,
    value::{Kwargs, Value},
};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::{Coordinator, fault::of_index};

/// Steps that a template may take: those of models take some hundred a message.
const FUEL: u64 = 10_000_000;

/// Writes a conversation out for a model, ready for the assistant's next words.
///
/// # Errors
/// If the model is unknown, was not made for conversations, or its template does not take this one.
pub(crate) async fn render(
    coordinator: &Coordinator,
    model: &ModelName,
    messages: &[ChatMessage],
) -> Result<String, Fault> {
    let wanted = model.clone();
    let record = coordinator.ask(move |index| index.model_named(&wanted).map_err(of_index)).await?;
    if coordinator.registry.with_model(record.hash).is_empty() {
        return Err(Fault::unavailable(format!("no worker has model `{model}` at the moment: start one")));
    }
    let template = coordinator.registry.chat_template(record.hash).ok_or_else(|| {
        Fault::precondition(format!(
            "model `{model}` has no chat template, it was not made for conversations: give it a text to continue"
        ))
    })?;
    written(&template, messages)
}

fn written(template: &ChatTemplate, messages: &[ChatMessage]) -> Result<String, Fault> {
    let bad = |error: Error| match error.kind() {
        ErrorKind::InvalidOperation if error.detail().is_some_and(|detail| detail.starts_with(RAISED)) => {
            let reason = error.detail().unwrap_or_default().trim_start_matches(RAISED).to_owned();
            Fault::invalid(format!("the model's chat template does not take this conversation: {reason}"))
        }
        _ => Fault::invalid(format!("the model's chat template cannot be rendered: {error:#}")),
    };
    let source = without_marks(&template.source);
    let mut environment = Environment::new();
    // As Hugging Face sets its own Jinja up.
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(bad)?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise);
    environment.add_filter("tojson", to_json);
    environment.set_fuel(Some(FUEL));
    let said = |message: &ChatMessage| context! { role => message.role.as_str(), content => message.content.as_str() };
    let messages: Vec<Value> = messages.iter().map(said).collect();
    let values = context! {
        messages,
        add_generation_prompt => true,
        bos_token => template.bos_token.as_deref().unwrap_or_default(),
        eos_token => template.eos_token.as_deref().unwrap_or_default(),
    };
    environment.render_str(&source, values).map_err(bad)
}

/// How the messages of `raise_exception` begin.
const RAISED: &str = "raised: ";

fn raise(reason: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{reason}")))
}

/// JSON as Python writes it, which is what models were trained on: not escaped for HTML, with blanks.
fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let blanks = vec![b' '; width];
            let pretty = PrettyFormatter::with_indent(&blanks);
            value.serialize(&mut Serializer::with_formatter(&mut bytes, pretty))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    }
    .map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A blank behind every comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The template without the marks of what the assistant said, which are for training and which Jinja itself does not know.
fn without_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else { break };
        let tag = &rest[start..start + len + 2];
        let word = tag[2..len].trim_matches(['-', '+', ' ', '\t', '\n', '\r']);
        out.push_str(&rest[..start]);
        // White space goes with a block that says so, whatever the block is.
        match word {
            "generation" | "endgeneration" => {
                let (before, after) = (tag.starts_with("{%-"), tag.ends_with("-%}"));
                out.push_str(if before { "{%- if true %}" } else { "{% if true %}" });
                out.push_str(if after { "{% endif -%}" } else { "{% endif %}" });
            }
            _ => out.push_str(tag),
        }
        rest = &rest[start + len + 2..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A template in the way of those that many models carry.
    const CHATML: &str = "{%- for message in messages %}\n{{- '<|im_start|>' + message['role'] + '\\n' + message.content.strip() + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate { source: source.into(), bos_token: Some("<s>".into()), eos_token: None }
    }

    fn conversation(said: &[(&str, &str)]) -> Vec<ChatMessage> {
        let message = |(role, content): &(&str, &str)| ChatMessage { role: (*role).into(), content: (*content).into() };
        said.iter().map(message).collect()
    }

    fn check(source: &str, said: &[(&str, &str)], expected: &str) {
        assert_eq!(written(&template(source), &conversation(said)).unwrap(), expected, "{source}");
    }

    #[test]
    fn a_conversation_is_written_as_the_template_says() {
        let said = [("system", "Be brief."), ("user", " Hi & <bye> ")];
        let expected =
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi & <bye><|im_end|>\n<|im_start|>assistant\n";
        check(CHATML, &said, expected);
        check("{{ bos_token }}{{ eos_token }}{{ messages[-1]['role'] }}", &said, "<s>user");
        check(
            "{{ messages[0] | tojson }}",
            &[("user", "<\"a\">")],
            "{\"role\": \"user\", \"content\": \"<\\\"a\\\">\"}",
        );
        check(
            "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
            &said,
            "system",
        );
        check(
            "{% for m in messages %}\n    {% generation %}{{ m.role }}{%- endgeneration -%}\n{% endfor %}",
            &said,
            "systemuser",
        );
    }

    #[test]
    fn what_a_template_does_not_take_is_said() {
        let fault =
            |source: &str| written(&template(source), &conversation(&[("user", "Hi")])).unwrap_err().to_string();
        let said = fault("{{ raise_exception('roles must alternate') }}");
        assert_eq!(said, "the model's chat template does not take this conversation: roles must alternate");
        assert!(fault("{% for %}").contains("cannot be rendered: syntax error"), "{}", fault("{% for %}"));
        assert!(
            fault("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}").contains("fuel")
        );
    }
}
