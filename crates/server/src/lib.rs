//! The faces: what listens, who speaks, and in which protocol.
//!
//! A face parses and checks its wire, has the token verified, and hands proposals to the kernel.
//! Nothing here decides, records or reaches an upstream.

pub mod admin;
pub mod awake;
pub mod console;
pub mod http;
pub mod identity;
pub mod joining;
pub mod lanes;
pub mod listen;
pub mod mcp;
mod model;
pub mod route;
mod running;
mod shed;
mod tick;
pub mod webhook;
