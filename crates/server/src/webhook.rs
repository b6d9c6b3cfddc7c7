//! Webhooks: channels that are told of requests for approval, and that may answer them.
//!
//! Both ways are signed as Standard Webhooks say (`sign`). What is told is a projection of the
//! store (`tell`): a channel that is away delays nobody, and is told later. An answer (`hear`)
//! proves that it comes from the channel, not which person is behind it, and goes the way that
//! every answer goes.

mod channels;
mod hear;
mod sign;
mod tell;

pub use channels::Channels;
pub(crate) use hear::handle;
pub use sign::SecretError;
pub use tell::tell;
