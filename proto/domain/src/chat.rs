//! Conversations: messages, and how a model wants them written out.

/// Something that somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who: `system`, `user`, `assistant`, or what else the model's template knows.
    pub role: String,
    /// What.
    pub content: String,
}

/// How a model wants a conversation written out: a Jinja template as Hugging Face tokenizers carry it, and the texts of the
/// tokens that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The template.
    pub source: String,
    /// The token that begins a text, if the model has one.
    pub bos_token: Option<String>,
    /// The token that ends a text, if the model has one.
    pub eos_token: Option<String>,
}
