//! `lockgate token`: a token of the development issuer, for first use on loopback.

use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, bail};
use lockgate_core::World;
use lockgate_server::identity::DevelopmentKey;
use lockgate_types::Object;
use std::process::ExitCode;

/// How long a token may last: a week.
const SECONDS: std::ops::RangeInclusive<u64> = 1..=7 * 24 * 3600;

/// Arguments of `lockgate token`.
#[derive(clap::Args)]
pub(crate) struct TokenArguments {
    /// The user: one of `users` under `[development]`
    user: String,
    /// The agent that acts for the user: one of `principals.toml`
    #[arg(long)]
    agent: String,
    /// The task that the agent works on
    #[arg(long)]
    task: Option<String>,
    /// Seconds until the token expires
    #[arg(long, default_value_t = 8 * 3600, value_parser = clap::value_parser!(u64).range(SECONDS))]
    seconds: u64,
}

/// Signs and prints a token.
pub(crate) fn run(arguments: &TokenArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let files = place.read_bundle()?;
    let world =
        World::load(&files).map_err(|mistakes| anyhow::anyhow!(crate::check::report(&mistakes)))?;
    let Some(development) = &world.gate.development else {
        bail!(
            "this bundle has no development issuer (hint: get a token from its issuer, \
             or add `[development]` to `lockgate.toml` outside `prod`)"
        );
    };
    if !development.users.contains(&arguments.user) {
        bail!(
            "`{}` is not one of the development users: {} (hint: add it under `[development]`)",
            arguments.user,
            development.users.join(", ")
        );
    }
    if !world.principals.agent.contains_key(&arguments.agent) {
        let known: Vec<_> = world.principals.agent.keys().map(String::as_str).collect();
        bail!("`{}` is not an agent of `principals.toml`: {}", arguments.agent, known.join(", "));
    }
    let key =
        DevelopmentKey::open(&place.state()).context("opening the development issuer's key")?;
    let (user, agent, task) = (&arguments.user, &arguments.agent, arguments.task.as_deref());
    let token = key.sign_for(user, agent, task, arguments.seconds)?;
    output.line(&token);
    output.json(&Object::new().with("token", token.as_str()).into());
    Ok(ExitCode::SUCCESS)
}
