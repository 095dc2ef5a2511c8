//! Conversations.

use lode_domain::{
    chat::{ChatMessage, ChatTemplate},
    id::ModelName,
};

use super::{BadField, each, parsed};
use crate::wire;

impl From<ChatMessage> for wire::ChatMessage {
    fn from(message: ChatMessage) -> Self {
        Self { role: message.role, content: message.content }
    }
}

impl From<wire::ChatMessage> for ChatMessage {
    fn from(message: wire::ChatMessage) -> Self {
        Self { role: message.role, content: message.content }
    }
}

impl From<ChatTemplate> for wire::ChatTemplate {
    fn from(template: ChatTemplate) -> Self {
        Self { source: template.source, bos_token: template.bos_token, eos_token: template.eos_token }
    }
}

impl From<wire::ChatTemplate> for ChatTemplate {
    fn from(template: wire::ChatTemplate) -> Self {
        Self { source: template.source, bos_token: template.bos_token, eos_token: template.eos_token }
    }
}

/// A conversation, and the model that is to go on with it.
///
/// # Errors
/// If the model's name is none.
pub fn chat_request(request: wire::RenderChatRequest) -> Result<(ModelName, Vec<ChatMessage>), BadField> {
    Ok((parsed(&request.model, "model")?, each(request.messages)))
}
