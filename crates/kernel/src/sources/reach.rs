//! The connector of a source, as it is declared. What leaves the gate leaves by `effects`, under
//! its rules.

use super::governed::Governed;
use lockgate_core::declare::{self, Secret};
use lockgate_core::retrieve::source::server;
use lockgate_effects::{PageError, Pages, read_secret};
use lockgate_retrieval::connect::{
    ConnectError, Connector, Directory, Fetch, Fetched, Git, Http, Request, S3, S3Keys, Sqlite,
    SqliteColumns,
};
use lockgate_types::{Micros, Redacted};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;

/// What connectors need beside their declaration.
pub(super) struct Reach {
    /// Where relative paths begin.
    pub(super) bundle: PathBuf,
    /// The runtime on which the gate speaks to others.
    pub(super) runtime: Handle,
    /// The clock.
    pub(super) now: Arc<dyn Fn() -> Micros + Send + Sync>,
}

impl Reach {
    /// The connector of a source. Not to be called on a thread of the runtime.
    pub(super) fn connector(
        &self,
        declared: &Arc<declare::Source>,
    ) -> Result<Governed, ConnectError> {
        let it = &declared.connector;
        let inner: Box<dyn Connector> = if let Some(directory) = &it.directory {
            Box::new(Directory::new(self.path(&directory.path), None))
        } else if let Some(git) = &it.git {
            let reference = git.reference.as_deref().unwrap_or("HEAD");
            Box::new(Git::new(self.path(&git.path), None, None).at(reference))
        } else if let Some(http) = &it.http {
            Box::new(self.pages(http)?)
        } else if let Some(s3) = &it.s3 {
            Box::new(self.bucket(s3)?)
        } else if let Some(query) = &it.query {
            Box::new(self.query(declared, query)?)
        } else {
            // The loader refuses any other.
            return Err(mismatch("a retriever of others finds its documents, and none are read"));
        };
        Ok(Governed { inner, declared: Arc::clone(declared) })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.bundle.join(Path::new(path))
    }

    fn secret(&self, secret: &Secret) -> Result<Redacted<String>, ConnectError> {
        let read = self.runtime.block_on(read_secret(secret));
        read.map_err(|why| ConnectError::Away { why: why.to_string() })
    }

    fn pages(&self, declared: &declare::HttpConnector) -> Result<Http, ConnectError> {
        let first = declared.urls.first().ok_or_else(|| mismatch("it names no page"))?;
        let base = server(first);
        let mut headers = Vec::with_capacity(declared.headers.len());
        for (name, value) in &declared.headers {
            headers.push((name.clone(), self.secret(value)?));
        }
        let web = self.web(base, &declared.allow_networks, headers)?;
        Ok(Http::new(base, declared.urls.clone(), declared.site_map.clone(), Box::new(web)))
    }

    fn bucket(&self, declared: &declare::S3Connector) -> Result<S3, ConnectError> {
        let keys = match (&declared.access_key_id, &declared.secret_access_key) {
            (Some(id), Some(secret)) => Some(S3Keys {
                id: self.secret(id)?.expose().clone(),
                secret: self.secret(secret)?,
                region: declared.region.clone(),
            }),
            _ => None,
        };
        let endpoint = format!("{}/{}", declared.endpoint.trim_end_matches('/'), declared.bucket);
        let web = self.web(server(&declared.endpoint), &declared.allow_networks, Vec::new())?;
        let now = Arc::clone(&self.now);
        let now = Box::new(move || now());
        Ok(S3::new(&endpoint, &declared.prefix, keys, now, Box::new(web)))
    }

    fn query(
        &self,
        source: &declare::Source,
        declared: &declare::QueryConnector,
    ) -> Result<Sqlite, ConnectError> {
        let address = self.secret(&declared.address)?;
        let path = address.expose().strip_prefix("sqlite:");
        let path = path.ok_or_else(|| mismatch("its address is not `sqlite:PATH`"))?;
        let columns = SqliteColumns {
            readers: declared.readers.clone(),
            changed: declared.changed.clone(),
            text: declared.text.clone(),
            ..SqliteColumns::default()
        };
        let rows = lockgate_retrieval::format::Rows {
            key: Some(declared.id.clone()),
            title: declared.title.clone(),
            own: source.fields.keys().cloned().collect(),
        };
        Ok(Sqlite::new(self.path(path), declared.statement.clone(), rows, columns))
    }

    fn web(
        &self,
        server: &str,
        allow_networks: &[String],
        headers: Vec<(String, Redacted<String>)>,
    ) -> Result<Web, ConnectError> {
        let pages = Pages::of(server, allow_networks).map_err(failed)?;
        Ok(Web { pages, headers, runtime: self.runtime.clone() })
    }
}

fn mismatch(why: &str) -> ConnectError {
    ConnectError::Mismatch { why: why.to_owned() }
}

/// One server, by the gate's way out.
struct Web {
    pages: Pages,
    headers: Vec<(String, Redacted<String>)>,
    runtime: Handle,
}

impl Fetch for Web {
    fn fetch(&mut self, request: &Request) -> Result<Fetched, ConnectError> {
        let declared = self.headers.iter().map(|(name, it)| (name.clone(), it.expose().clone()));
        let headers: Vec<_> = declared.chain(request.headers.iter().cloned()).collect();
        let got = self.pages.get(&request.address, &headers, request.bytes_max);
        let page = self.runtime.block_on(got).map_err(failed)?;
        Ok(Fetched { status: page.status, headers: page.headers, body: page.body })
    }
}

fn failed(error: PageError) -> ConnectError {
    match error {
        PageError::NotAllowed { why } => ConnectError::Elsewhere { why },
        PageError::Unreachable { why } => ConnectError::Away { why },
        PageError::TooLong { bytes_max } => {
            ConnectError::TooMuch { what: "bytes in an answer", max: bytes_max }
        }
    }
}
