//! Bundles: the one that rules, those that ruled, and loading the one that is on disk now.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use lockgate_core::Mistake;
use lockgate_core::world::Files;
use lockgate_types::{Code, Digest, Json, Object};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Reads the bundle anew from where this gate has it, and loads it.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<Digest, ReloadError>> + Send + Sync>;

/// Why a bundle was not loaded; the last good one stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It has mistakes, or cannot be read.
    #[error("the bundle has {} mistakes", .0.len())]
    Mistakes(Vec<Mistake>),
    /// It is sound, and yet could not be put in place.
    #[error("the bundle was not loaded: {0}")]
    Failed(Code),
}

/// The bundle that rules from now on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Reloaded {
    /// Its digest.
    digest: String,
}

pub(super) async fn read(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let digest = match asked.text("digest") {
            "" => parts.kernel.world().ok_or(Code::NoBundle)?.digest,
            text => text.parse::<Digest>().map_err(|_| Code::AdminBadRequest)?,
        };
        let files = parts.kernel.store().bundle(&digest).await?.ok_or(Code::RecordNotFound)?;
        Ok(Reading::json(bundle_json(&digest, &files)))
    };
    parts.govern(&asked, "bundle_read", perform).await
}

fn bundle_json(digest: &Digest, files: &Files) -> Object {
    let files =
        files.iter().map(|(path, content)| (path.clone(), Json::from(BASE64.encode(content))));
    Object::new().with("digest", digest.to_string()).with("files", files.collect::<Object>())
}

pub(super) async fn reload(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || match (parts.reload)().await {
        Ok(digest) => Reading::typed(&Reloaded { digest: digest.to_string() }),
        Err(ReloadError::Mistakes(mistakes)) => Err(Problem::mistakes(mistakes)),
        Err(ReloadError::Failed(code)) => Err(code.into()),
    };
    parts.govern(&asked, "bundle_reload", perform).await
}
