//! Instrumented decoders: hooked forward passes, capture, intervention and generation on candle.
