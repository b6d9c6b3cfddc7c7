//! Objects of a bucket that speaks as S3 does: listed page by page, fetched one by one, each
//! request signed (version 4). Who fetches is given by the caller, as with pages.

use super::http::{Fetch, Fetched, Request};
use super::{
    ConnectError, Connector, Content, DOCUMENTS_MAX, Entry, Listing, Permissions, folders_of,
    is_place,
};
use crate::format::{DOCUMENT_BYTES_MAX, Xml, XmlEvent};
use aws_lc_rs::hmac;
use lockgate_types::{Micros, Redacted};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Bytes of one page of a list.
const LIST_BYTES_MAX: usize = 8 << 20;
/// Pages of a list, of a thousand objects each.
const PAGES_MAX: usize = 400;
/// The digest of no bytes.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What requests are signed with.
#[derive(Debug)]
pub struct S3Keys {
    /// Whose they are.
    pub id: String,
    /// The secret.
    pub secret: Redacted<String>,
    /// The region, as the bucket's server knows it.
    pub region: String,
}

/// A bucket as a source.
pub struct S3 {
    /// `https://bucket.s3.example`, or `https://s3.example/bucket`; no slash at its end.
    endpoint: String,
    prefix: String,
    /// `None`: nothing is signed.
    keys: Option<S3Keys>,
    now: Box<dyn Fn() -> Micros + Send>,
    fetch: Box<dyn Fetch + Send>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl S3 {
    /// The objects whose keys begin with `prefix`.
    pub fn new(
        endpoint: &str,
        prefix: &str,
        keys: Option<S3Keys>,
        now: Box<dyn Fn() -> Micros + Send>,
        fetch: Box<dyn Fetch + Send>,
    ) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { endpoint, prefix: prefix.to_owned(), keys, now, fetch }
    }

    fn get(
        &mut self,
        key: &str,
        query: &[(&str, &str)],
        known: Option<&str>,
        bytes_max: usize,
    ) -> Result<Fetched, ConnectError> {
        let (_, rest) = self.endpoint.split_once("://").ok_or_else(|| ConnectError::Mismatch {
            why: "an endpoint is an address with a scheme".to_owned(),
        })?;
        let (host, base) = rest.split_once('/').unwrap_or((rest, ""));
        let slash = if base.is_empty() { "" } else { "/" };
        let path = format!("{slash}{}/{}", escaped(base, true), escaped(key, true));
        let mut pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name, false), escaped(value, false)))
            .collect();
        pairs.sort();
        let query = pairs.join("&");
        let sign = |keys| signed(keys, host, &path, &query, &[], (self.now)());
        let mut headers: Vec<(String, String)> = self.keys.as_ref().map(sign).unwrap_or_default();
        headers.extend(known.map(|etag| ("if-none-match".to_owned(), etag.to_owned())));
        let mark = if query.is_empty() { "" } else { "?" };
        let scheme = self.endpoint.split_once("://").map_or("https", |(scheme, _)| scheme);
        let address = format!("{scheme}://{host}{path}{mark}{query}");
        let fetched = self.fetch.fetch(&Request { address, headers, bytes_max })?;
        if fetched.body.len() > bytes_max {
            return Err(ConnectError::TooMuch { what: "bytes in an answer", max: bytes_max });
        }
        match fetched.status {
            200 | 304 | 404 => Ok(fetched),
            300..=399 => Err(ConnectError::Elsewhere { why: "the bucket redirects".to_owned() }),
            status => Err(ConnectError::away(format!("the bucket answers {status}"))),
        }
    }
}

impl Connector for S3 {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let mut listing = Listing { is_whole: true, ..Listing::default() };
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let prefix = self.prefix.clone();
            let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let fetched = self.get("", &query, None, LIST_BYTES_MAX)?;
            if fetched.status != 200 {
                return Err(ConnectError::away("the bucket is not there"));
            }
            token = listed(&String::from_utf8_lossy(&fetched.body), &mut listing)?;
            if listing.entries.len() > DOCUMENTS_MAX {
                return Err(ConnectError::TooMuch { what: "documents", max: DOCUMENTS_MAX });
            }
            if token.is_none() {
                listing.entries.sort_by(|one, two| one.id.cmp(&two.id));
                listing.entries.dedup_by(|one, two| one.id == two.id);
                let folders: BTreeSet<&String> =
                    listing.entries.iter().flat_map(|entry| &entry.folders).collect();
                listing.folders =
                    folders.into_iter().map(|it| (it.clone(), Permissions::none())).collect();
                return Ok(listing);
            }
        }
        Err(ConnectError::TooMuch { what: "pages of objects", max: PAGES_MAX })
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        if known.is_some() && known == entry.version.as_deref() {
            return Ok(Content::Same);
        }
        let fetched = self.get(&entry.id, &[], None, DOCUMENT_BYTES_MAX)?;
        if fetched.status != 200 {
            return Ok(Content::Gone);
        }
        let header = |name: &str| {
            let found = fetched.headers.iter().find(|(given, _)| given == name);
            found.map(|(_, value)| value.clone())
        };
        let (version, media_type) = (header("etag"), header("content-type"));
        Ok(Content::Bytes { bytes: fetched.body, media_type, version, changed: None })
    }
}

/// Adds what a page of the list names, and says where the next one begins.
fn listed(text: &str, listing: &mut Listing) -> Result<Option<String>, ConnectError> {
    let wrong = |error: crate::format::FormatError| ConnectError::away(error);
    let mut xml = Xml::new(text);
    let (mut within, mut next, mut size) = (String::new(), None, 0_usize);
    let mut entry = Entry::default();
    while let Some(event) = xml.next().map_err(wrong)? {
        match event {
            XmlEvent::Start { name, .. } => name.clone_into(&mut within),
            XmlEvent::Text(said) => match within.as_str() {
                "Key" => entry.id.push_str(&said),
                "ETag" => entry.version.get_or_insert_default().push_str(&said),
                "Size" => size = said.trim().parse().unwrap_or(usize::MAX),
                "LastModified" => {
                    let moment = said.trim().parse::<jiff::Timestamp>().ok();
                    entry.changed = moment.map(|it| Micros(it.as_microsecond()));
                }
                "NextContinuationToken" => next = Some(said),
                _ => {}
            },
            XmlEvent::End { name: "Contents" } => {
                add(std::mem::take(&mut entry), size, listing);
                within.clear();
            }
            XmlEvent::End { .. } => within.clear(),
            XmlEvent::Comment(_) => {}
        }
    }
    Ok(next)
}

fn add(mut entry: Entry, size: usize, listing: &mut Listing) {
    if entry.id.ends_with('/') {
        return;
    }
    if !is_place(&entry.id) || entry.id.starts_with('/') {
        listing.skipped.push((entry.id, "its name is too long, or has odd characters".to_owned()));
    } else if size > DOCUMENT_BYTES_MAX {
        listing.skipped.push((entry.id, "it is too large".to_owned()));
    } else {
        let root = std::iter::once(super::directory::ROOT.to_owned());
        entry.folders = root.chain(folders_of(&entry.id)).collect();
        listing.entries.push(entry);
    }
}

/// The headers that sign a request without a body.
fn signed(
    keys: &S3Keys,
    host: &str,
    path: &str,
    query: &str,
    beside: &[(&str, &str)],
    now: Micros,
) -> Vec<(String, String)> {
    let moment = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default();
    let time = moment.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = moment.strftime("%Y%m%d").to_string();
    let mut headers =
        vec![("host", host), ("x-amz-content-sha256", NOTHING), ("x-amz-date", time.as_str())];
    headers.extend(beside);
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let request = format!("GET\n{path}\n{query}\n{lines}\n{names}\n{NOTHING}");
    let scope = format!("{day}/{}/s3/aws4_request", keys.region);
    let digest = hex::encode(Sha256::digest(request.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let secret = format!("AWS4{}", keys.secret.expose());
    let mut key = mac(secret.as_bytes(), &day);
    for part in [keys.region.as_str(), "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex::encode(mac(&key, &to_sign));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
        keys.id
    );
    vec![
        ("authorization".to_owned(), authorization),
        ("x-amz-content-sha256".to_owned(), NOTHING.to_owned()),
        ("x-amz-date".to_owned(), time),
    ]
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// As addresses in signed requests are written: letters, digits and four signs stand for
/// themselves.
fn escaped(text: &str, keeps_slashes: bool) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if is_plain || (keeps_slashes && byte == b'/') {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key, time and bucket of the examples in the service's own documentation.
    fn signature(path: &str, query: &str, beside: &[(&str, &str)]) -> String {
        let keys = S3Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Redacted::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            region: "us-east-1".to_owned(),
        };
        let now = Micros(1_369_353_600_000_000);
        let host = "examplebucket.s3.amazonaws.com";
        let headers = signed(&keys, host, path, query, beside, now);
        headers[0].1.rsplit_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn requests_are_signed_as_the_service_does_it() {
        assert_eq!(
            signature("/test.txt", "", &[("range", "bytes=0-9")]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature("/", "max-keys=2&prefix=J", &[]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    struct Bucket(Vec<String>);

    impl Fetch for Bucket {
        fn fetch(&mut self, request: &Request) -> Result<Fetched, ConnectError> {
            let is_second = request.address.contains("continuation-token=a%2Fb");
            self.0.push(request.address.clone());
            let body = if is_second {
                "<R><Contents><Key>x/z.md</Key><Size>3</Size></Contents></R>"
            } else {
                "<R><Contents><Key>x/y &amp; w.md</Key><ETag>&quot;1&quot;</ETag><Size>2</Size>\
                 <LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>\
                 <Contents><Key>big.md</Key><Size>999999999</Size></Contents>\
                 <Contents><Key>x/</Key><Size>0</Size></Contents>\
                 <NextContinuationToken>a/b</NextContinuationToken></R>"
            };
            Ok(Fetched { status: 200, body: body.into(), ..Fetched::default() })
        }
    }

    #[test]
    fn all_pages_of_a_bucket_are_listed() {
        let keys = S3Keys {
            id: "a".to_owned(),
            secret: Redacted::new("b".to_owned()),
            region: "c".to_owned(),
        };
        let now = Box::new(|| Micros(0));
        let fetch = Box::new(Bucket(Vec::new()));
        let mut bucket = S3::new("https://s3.example/bucket/", "x", Some(keys), now, fetch);
        let listing = bucket.list(None).unwrap();
        let ids: Vec<&str> = listing.entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["x/y & w.md", "x/z.md"]);
        assert_eq!(listing.entries[0].version.as_deref(), Some("\"1\""));
        assert_eq!(listing.entries[0].changed, Some(Micros(1_767_323_045_000_000)));
        assert_eq!(listing.entries[0].folders, [".", "x"]);
        assert_eq!(listing.skipped, [("big.md".to_owned(), "it is too large".to_owned())]);
    }
}
