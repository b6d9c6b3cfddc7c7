//! The connector of a source, as it is declared. What leaves the gate leaves by `effects`, under
//! its rules.

use super::governed::Governed;
use super::{Bringing, Reader};
use super::{resources, rows};
use lockgate_core::World;
use lockgate_core::declare::{self, Secret};
use lockgate_core::retrieve::source::server;
use lockgate_effects::{PageError, Pages, Upstreams, read_secret};
use lockgate_retrieval::connect::{
    Asked, ConnectError, Connector, Directory, Fetch, Fetched, Follow, Git, Http, QueryColumns,
    Request, S3, S3Keys, Sqlite,
};
use lockgate_retrieval::ingest::{DOCUMENT_WITHIN, Parser};
use lockgate_types::{Micros, Redacted};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;

/// Links in a row that are followed, unless somebody says otherwise.
const DEPTH_USUALLY: u32 = 8;
/// Pages of a source whose links are followed, unless somebody says otherwise.
const PAGES_USUALLY: u32 = 1000;

/// What connectors need beside their declaration.
pub(super) struct Reach {
    /// Where relative paths begin, and what reads documents.
    pub(super) bringing: Bringing,
    /// What the bundle calls the source.
    pub(super) name: String,
    /// The bundle that rules.
    pub(super) world: Option<Arc<World>>,
    /// Upstreams that sources may name.
    pub(super) upstreams: Upstreams,
    /// The runtime on which the gate speaks to others.
    pub(super) runtime: Handle,
    /// Whether it is to stop.
    pub(super) stop: Arc<dyn Fn() -> bool + Send + Sync>,
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
            self.query(declared, query)?
        } else if let Some(mcp) = &it.mcp {
            let world = self.world.clone().ok_or_else(|| mismatch("no bundle rules"))?;
            let from = (&self.upstreams, world);
            Box::new(resources::Server::new(from, (&self.name, mcp), self.runtime.clone())?)
        } else {
            // The loader refuses any other.
            return Err(mismatch("a retriever of others finds its documents, and none are read"));
        };
        Ok(Governed { inner, declared: Arc::clone(declared) })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.bringing.bundle.join(Path::new(path))
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
        let (urls, map) = (declared.urls.clone(), declared.site_map.clone());
        let pages = Http::new(base, urls, map, Box::new(web));
        if declared.follow.is_empty() {
            return Ok(pages);
        }
        let depth_max = declared.depth_max.unwrap_or(DEPTH_USUALLY);
        let pages_max = usize::try_from(declared.pages_max.unwrap_or(PAGES_USUALLY));
        let follow = Follow {
            beneath: declared.follow.clone(),
            depth_max,
            pages_max: pages_max.unwrap_or(usize::MAX),
        };
        let Reader { program, arguments, environment } = self.bringing.reader.clone();
        let parser = Parser::new(program, arguments, DOCUMENT_WITHIN).told(environment);
        Ok(pages.following(follow, Box::new(parser)))
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
    ) -> Result<Box<dyn Connector>, ConnectError> {
        let address = self.secret(&declared.address)?;
        let columns = QueryColumns {
            readers: declared.readers.clone(),
            changed: declared.changed.clone(),
            author: declared.author.clone(),
            text: declared.text.clone(),
            ..QueryColumns::default()
        };
        let rows = lockgate_retrieval::format::Rows {
            key: Some(declared.id.clone()),
            title: declared.title.clone(),
            own: source.fields.keys().cloned().collect(),
        };
        if declare::is_postgres(address.expose()) {
            let ask = rows::Postgres::new(declared, address, self.runtime.clone());
            return Ok(Box::new(Asked::new(Box::new(ask), rows, columns)));
        }
        let path = address.expose().strip_prefix("sqlite:");
        let path = path.ok_or_else(|| mismatch("its address is that of no database"))?;
        let query = declared.statement.clone();
        Ok(Box::new(Sqlite::new(self.path(path), query, rows, columns)))
    }

    fn web(
        &self,
        server: &str,
        allow_networks: &[String],
        headers: Vec<(String, Redacted<String>)>,
    ) -> Result<Web, ConnectError> {
        let pages = Pages::of(server, allow_networks).map_err(failed)?;
        Ok(Web { pages, headers, stop: Arc::clone(&self.stop), runtime: self.runtime.clone() })
    }
}

fn mismatch(why: &str) -> ConnectError {
    ConnectError::Mismatch { why: why.to_owned() }
}

/// One server, by the gate's way out.
struct Web {
    pages: Pages,
    headers: Vec<(String, Redacted<String>)>,
    stop: Arc<dyn Fn() -> bool + Send + Sync>,
    runtime: Handle,
}

impl Fetch for Web {
    fn fetch(&mut self, request: &Request) -> Result<Fetched, ConnectError> {
        if (self.stop)() {
            // Also between two pages of a list that is being made.
            return Err(ConnectError::Away { why: "the run was stopped".to_owned() });
        }
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
