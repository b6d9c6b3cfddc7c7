//! Connectors against what they connect to: directories, repositories, databases, servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_retrieval::connect::{
    ConnectError, Connector, Content, Directory, Entry, Fetch, Fetched, FindLinks, Follow, Git,
    Http, Listing, Permissions, QueryColumns, Request, Sqlite,
};
use lockgate_retrieval::format::{Format, Links, Rows, parse};
use lockgate_types::Micros;
use lockgate_types::document::Reader;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

fn ids(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| entry.id.as_str()).collect()
}

fn bytes(content: &Content) -> &[u8] {
    match content {
        Content::Bytes { bytes, .. } => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_is_not_left_by_any_link() {
    let (folder, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = |name: &str| folder.path().join(name);
    std::fs::write(outside.path().join("secret.md"), "secret").unwrap();
    std::fs::create_dir(path("d")).unwrap();
    std::fs::write(path("d/a.md"), "a").unwrap();
    std::os::unix::fs::symlink(outside.path(), path("out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.md"), path("link.md")).unwrap();
    let mut directory = Directory::new(folder.path().to_owned(), None);
    let listing = directory.list(None).unwrap();
    assert_eq!(ids(&listing), ["d/a.md"]);
    let skipped: Vec<&str> = listing.skipped.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(skipped, ["link.md", "out"]);
    // Not even one that was put there after the list was made, nor by an id that climbs.
    std::fs::remove_dir_all(path("d")).unwrap();
    std::fs::rename(outside.path().join("secret.md"), outside.path().join("a.md")).unwrap();
    std::os::unix::fs::symlink(outside.path(), path("d")).unwrap();
    assert_eq!(directory.fetch(&listing.entries[0], None), Ok(Content::Gone));
    let climbs = Entry { id: "../x.md".to_owned(), ..Entry::default() };
    assert_eq!(directory.fetch(&climbs, None), Ok(Content::Gone));
}

#[test]
fn a_pipe_in_a_directory_holds_nobody_up() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("a.md");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::create_dir(folder.path().join("p")).unwrap();
    let pipe = folder.path().join("p/_permissions.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut directory = Directory::new(folder.path().to_owned(), None);
    assert_eq!(ids(&directory.list(None).unwrap()), [""; 0]);
    let entry = Entry { id: "a.md".to_owned(), ..Entry::default() };
    assert_eq!(directory.fetch(&entry, None), Ok(Content::Gone));
}

#[test]
fn permissions_that_are_a_link_or_broken_share_nothing() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, sidecar) in [("good", "readers = ['everyone']"), ("bad", "readers = 3")] {
        std::fs::create_dir(path(name)).unwrap();
        std::fs::write(path(&format!("{name}/a.md")), "a").unwrap();
        std::fs::write(path(&format!("{name}/_permissions.toml")), sidecar).unwrap();
    }
    std::fs::create_dir(path("linked")).unwrap();
    let linked = path("linked/_permissions.toml");
    std::os::unix::fs::symlink(path("good/_permissions.toml"), linked).unwrap();
    let listing = Directory::new(folder.path().to_owned(), None).list(None).unwrap();
    let folders: BTreeMap<String, Permissions> = listing.folders.into_iter().collect();
    assert_eq!(folders["bad"], Permissions::Unknown);
    assert_eq!(folders["linked"], Permissions::Unknown);
    let shares = BTreeSet::from([Reader::Everyone]);
    let denials = BTreeSet::new();
    assert_eq!(folders["good"], Permissions::Inherits { shares, denials });
    assert_eq!(folders["."], Permissions::none());
    assert_eq!(listing.entries[0].permissions, Some(Permissions::Unknown));
}

fn git(folder: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@a.example"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
        .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

#[test]
fn a_repository_is_what_is_committed() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    git(folder.path(), &["init", "--quiet"]);
    std::fs::create_dir_all(path("docs/in")).unwrap();
    std::fs::write(path("docs/in/ä b.md"), "one").unwrap();
    std::fs::write(path("docs/_permissions.toml"), "readers = ['group:dev']").unwrap();
    std::fs::write(path("other.md"), "other").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", path("docs/link.md")).unwrap();
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "--quiet", "-m", "first"]);
    std::fs::write(path("docs/in/ä b.md"), "not committed").unwrap();
    // Settings of the repository start nothing.
    let marker = path("started");
    let program = format!("touch {}", marker.display());
    for setting in ["core.fsmonitor", "core.pager", "core.sshCommand", "diff.external"] {
        git(folder.path(), &["config", setting, &program]);
    }
    let link = Some("https://git.example/".to_owned());
    let mut source = Git::new(folder.path().to_owned(), Some("docs".to_owned()), link);
    let listing = source.list(None).unwrap();
    assert_eq!(ids(&listing), ["in/ä b.md"]);
    let entry = &listing.entries[0];
    assert_eq!(entry.author.as_deref(), Some("Ada"));
    assert_eq!(entry.changed, Some(Micros(1_767_323_045_000_000)));
    assert_eq!(entry.folders, [".", "in"]);
    assert_eq!(listing.skipped, [("link.md".to_owned(), "it is a link".to_owned())]);
    let shares = BTreeSet::from([Reader::Group("dev".to_owned())]);
    let own = Permissions::Inherits { shares, denials: BTreeSet::new() };
    assert_eq!(listing.folders[0], (".".to_owned(), own));
    assert_eq!(bytes(&source.fetch(entry, None).unwrap()), b"one");
    assert_eq!(source.fetch(entry, entry.version.as_deref()), Ok(Content::Same));
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["-c", "core.fsmonitor=false", "commit", "--quiet", "-m", "second"]);
    let listing = source.list(None).unwrap();
    assert_eq!(bytes(&source.fetch(&listing.entries[0], None).unwrap()), b"not committed");
    std::fs::remove_file(&marker).ok();
    source.list(None).unwrap();
    assert!(!marker.exists(), "a setting of the repository started a program");
}

/// What `git` says to arguments, and to what it is given.
fn git_says(folder: &Path, arguments: &[&str], given: &str) -> String {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // One that ends early takes nothing.
    let _ = child.stdin.take().unwrap().write_all(given.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A commit with a signature of each kind, and a file that is not there and is promised.
fn signed_and_promised(folder: &Path) -> String {
    git(folder, &["init", "--quiet"]);
    let blob = git_says(folder, &["hash-object", "-w", "--stdin"], "one");
    let away = "1".repeat(40);
    let files = format!("100644 blob {blob}\ta.md\n100644 blob {away}\tb.md\n");
    let tree = git_says(folder, &["mktree", "--missing"], &files);
    let mut parent = String::new();
    for kind in ["PGP SIGNATURE", "SIGNED MESSAGE", "SSH SIGNATURE"] {
        let who = "Ada <ada@a.example> 1767323045 +0000";
        let signed = format!("gpgsig -----BEGIN {kind}-----\n \n AAAA\n -----END {kind}-----");
        let commit =
            format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n{signed}\n\n{kind}\n");
        let arguments = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let made = git_says(folder, &arguments, &commit);
        git(folder, &["update-ref", "HEAD", &made]);
        parent = format!("parent {made}\n");
    }
    away
}

#[test]
fn settings_of_a_repository_start_no_program() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let away = signed_and_promised(at);
    let (program, marker) = (at.join("program"), at.join("started"));
    std::fs::write(&program, format!("#!/bin/sh\necho $0 >> {}\n", marker.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let named = program.to_str().unwrap();
    std::fs::write(at.join("signers"), "").unwrap();
    std::fs::write(at.join(".git/info/attributes"), "* diff=x filter=x\n").unwrap();
    let [signers, hooks] = ["signers", "hooks"].map(|name| at.join(name).display().to_string());
    std::fs::create_dir(&hooks).unwrap();
    for hook in ["post-index-change", "reference-transaction", "pre-auto-gc"] {
        std::fs::copy(&program, format!("{hooks}/{hook}")).unwrap();
    }
    let url = format!("ext::{named}");
    for (setting, value) in [
        ("log.showSignature", "true"),
        ("gpg.program", named),
        ("gpg.openpgp.program", named),
        ("gpg.x509.program", named),
        ("gpg.ssh.program", named),
        ("gpg.ssh.allowedSignersFile", &signers),
        ("gpg.ssh.defaultKeyCommand", named),
        ("core.fsmonitor", named),
        ("core.pager", named),
        ("pager.log", named),
        ("core.sshCommand", named),
        ("core.askPass", named),
        ("core.gitProxy", named),
        ("core.editor", named),
        ("core.alternateRefsCommand", named),
        ("core.hooksPath", &hooks),
        ("credential.helper", named),
        ("diff.external", named),
        ("diff.x.command", named),
        ("diff.x.textconv", named),
        ("filter.x.clean", named),
        ("filter.x.smudge", named),
        ("filter.x.process", named),
        ("uploadpack.packObjectsHook", named),
        ("protocol.allow", "always"),
        ("protocol.ext.allow", "always"),
        ("remote.origin.url", &url),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", named),
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
    ] {
        git(at, &["config", setting, value]);
    }
    // They would: of who trusts the repository.
    let has_started = || std::fs::remove_file(&marker).is_ok();
    git_says(at, &["log", "--format=%an"], "");
    assert!(has_started(), "a signature starts a program");
    git_says(at, &["cat-file", "--batch"], &format!("{away}\n"));
    assert!(has_started(), "an object that is promised starts a program");

    let mut source = Git::new(at.to_owned(), None, None);
    let listing = source.list(None).unwrap();
    assert_eq!(ids(&listing), ["a.md"]);
    assert_eq!(listing.entries[0].author.as_deref(), Some("Ada"));
    assert_eq!(bytes(&source.fetch(&listing.entries[0], None).unwrap()), b"one");
    let promised = Entry { version: Some(away), ..listing.entries[0].clone() };
    assert!(source.fetch(&promised, None).is_err());
    drop(source);
    assert!(!has_started(), "a setting of the repository started a program");
}

#[test]
fn what_is_no_repository_is_away() {
    let folder = TempDir::new().unwrap();
    let mut source = Git::new(folder.path().to_owned(), None, None);
    assert!(matches!(source.list(None), Err(ConnectError::Away { .. })));
}

fn database(rows: &str) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE person (id, team, name, pay, readers, at);
             INSERT INTO person VALUES {rows};"
        ))
        .unwrap();
    (folder, path)
}

fn query(path: &Path, query: &str) -> Sqlite {
    let own = BTreeSet::from(["pay".to_owned()]);
    let rows = Rows { key: Some("id".to_owned()), title: Some("name".to_owned()), own };
    let columns = QueryColumns {
        readers: Some("readers".to_owned()),
        folder: Some("team".to_owned()),
        changed: Some("at".to_owned()),
        ..QueryColumns::default()
    };
    Sqlite::new(path.to_owned(), query.to_owned(), rows, columns)
}

#[test]
fn rows_of_a_query_are_documents_with_permissions() {
    let (_folder, path) = database(
        "(1, 'a/b', 'Ada', 10, 'user:ada, group:hr', '2026-01-02 03:04:05'),
         (2, NULL, 'Bob', 20, NULL, 5), (3, NULL, 'Cy', 30, 'somebody', NULL)",
    );
    let mut source = query(&path, "SELECT * FROM person");
    let listing = source.list(None).unwrap();
    assert_eq!(ids(&listing), ["2", "3", "a/b/1"]);
    let ada = &listing.entries[2];
    let shares = [Reader::User("ada".to_owned()), Reader::Group("hr".to_owned())];
    let shares = shares.into_iter().collect();
    let shared = Permissions::Inherits { shares, denials: BTreeSet::new() };
    assert_eq!(ada.permissions, Some(shared));
    assert_eq!(ada.changed, Some(Micros(1_767_323_045_000_000)));
    assert_eq!(ada.folders, [".", "a", "a/b"]);
    // Without readers, or with one that is none: shared to nobody.
    assert_eq!(listing.entries[0].permissions, Some(Permissions::Unknown));
    assert_eq!(listing.entries[1].permissions, Some(Permissions::Unknown));
    let Content::Row(page) = source.fetch(ada, None).unwrap() else { panic!() };
    assert_eq!((page.text.as_str(), page.title.as_deref()), ("id: 1\nname: Ada", Some("Ada")));
    assert_eq!(page.beneath[0].page.text, "pay: 10");
}

#[test]
fn a_query_that_writes_or_has_no_keys_is_refused() {
    let (_folder, path) = database("(1, NULL, 'Ada', 1, '', 0), (1, NULL, 'Bob', 2, '', 0)");
    let mismatch = |text: &str| {
        let listed = query(&path, text).list(None);
        assert!(matches!(listed, Err(ConnectError::Mismatch { .. })), "{text}: {listed:?}");
    };
    mismatch("SELECT * FROM person");
    mismatch("DELETE FROM person");
    mismatch("SELECT id, name, readers, team, at FROM person LIMIT 1");
    assert!(query(&path, "SELECT nothing").list(None).is_err());
    assert!(query(Path::new("/nowhere.db"), "SELECT 1").list(None).is_err());
}

/// A server: what it answers by address, and what it was asked.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<BTreeMap<String, Fetched>>>,
    asked: Arc<Mutex<RefCell<Vec<Request>>>>,
}

impl Fetch for Server {
    fn fetch(&mut self, request: &Request) -> Result<Fetched, ConnectError> {
        self.asked.lock().unwrap().borrow_mut().push(request.clone());
        let answers = self.answers.lock().unwrap();
        let none = Fetched { status: 404, ..Fetched::default() };
        Ok(answers.get(&request.address).cloned().unwrap_or(none))
    }
}

impl Server {
    fn answer(&self, address: &str, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let fetched = Fetched { status, headers, body: body.into() };
        self.answers.lock().unwrap().insert(address.to_owned(), fetched);
    }
}

const BASE: &str = "https://docs.example/v1/";

fn pages(server: &Server, pages: &[&str], map: Option<&str>) -> Http {
    let pages = pages.iter().map(|page| (*page).to_owned()).collect();
    Http::new(BASE, pages, map.map(str::to_owned), Box::new(server.clone()))
}

#[test]
fn pages_are_fetched_when_they_have_changed() {
    let server = Server::default();
    server.answer(&format!("{BASE}map.txt"), 200, &[], "https://docs.example/v1/b\n\n");
    let date = "Fri, 02 Jan 2026 03:04:05 GMT";
    let headers = [("etag", "\"1\""), ("last-modified", date), ("content-type", "text/html")];
    server.answer(&format!("{BASE}a"), 200, &headers, "<p>a");
    let mut http = pages(&server, &["a", ""], Some("map.txt"));
    let listing = http.list(None).unwrap();
    assert_eq!(ids(&listing), ["a", "b", "index"]);
    let fetched = http.fetch(&listing.entries[0], None).unwrap();
    let Content::Bytes { version, changed, media_type, .. } = &fetched else { panic!() };
    assert_eq!(version.as_deref(), Some("etag \"1\""));
    assert_eq!(changed, &Some(Micros(1_767_323_045_000_000)));
    assert_eq!(media_type.as_deref(), Some("text/html"));
    server.answer(&format!("{BASE}a"), 304, &[], "");
    let again = http.fetch(&listing.entries[0], version.as_deref());
    assert_eq!(again, Ok(Content::Same));
    let headers = server.asked.lock().unwrap().borrow().last().unwrap().headers.clone();
    assert!(headers.contains(&("if-none-match".to_owned(), "\"1\"".to_owned())));
    assert_eq!(http.fetch(&listing.entries[1], None), Ok(Content::Gone));
}

#[test]
fn no_page_says_where_the_gate_goes() {
    let server = Server::default();
    for page in [
        "https://elsewhere.example/a",
        "https://docs.example/v2/a",
        "http://docs.example/v1/a",
        "https://docs.example/v1/../v2/a",
        "https://docs.example/v1/%2e%2E/a",
        "../a",
        "a\\..\\b",
        "a b",
        "https://docs.example/v1/a\r\nHost: x",
    ] {
        let listed = pages(&server, &[page], None).list(None);
        assert!(matches!(listed, Err(ConnectError::Elsewhere { .. })), "{page}: {listed:?}");
        server.answer(&format!("{BASE}map"), 200, &[], page);
        let listed = pages(&server, &[], Some("map")).list(None);
        let is_split = page.contains('\n');
        assert!(is_split || matches!(listed, Err(ConnectError::Elsewhere { .. })), "{page}");
    }
    server.answer(&format!("{BASE}a"), 302, &[("location", "https://x.example/?k=1")], "");
    let mut http = pages(&server, &["a"], None);
    let listing = http.list(None).unwrap();
    let Err(ConnectError::Elsewhere { why }) = http.fetch(&listing.entries[0], None) else {
        panic!()
    };
    assert!(!why.contains("k=1"), "{why}");
    server.answer(&format!("{BASE}a"), 500, &[], "");
    let away = http.fetch(&listing.entries[0], None);
    assert!(matches!(away, Err(ConnectError::Away { .. })));
}

/// Reads pages here and now: what is hostile is somebody else's test.
struct Reading;

impl FindLinks for Reading {
    fn links(&mut self, _: Option<&str>, page: &[u8]) -> Result<Links, ConnectError> {
        let read = parse(Format::Html, page, &Rows::default());
        Ok(read.map(|page| page.links).unwrap_or_default())
    }
}

const SITE: &str = "https://docs.example";

/// Follows from `/docs/` beneath it.
fn following(server: &Server, depth_max: u32, pages_max: usize) -> Http {
    let beneath = vec![format!("{SITE}/docs/")];
    let pages = Http::new(SITE, vec![beneath[0].clone()], None, Box::new(server.clone()));
    pages.following(Follow { beneath, depth_max, pages_max }, Box::new(Reading))
}

fn page(server: &Server, path: &str, links: &[&str]) {
    let links: String = links.iter().map(|link| format!("<a href=\"{link}\">x</a> ")).collect();
    let headers = [("content-type", "text/html")];
    server.answer(&format!("{SITE}{path}"), 200, &headers, &format!("<p>{path} {links}"));
}

fn asked(server: &Server, path: &str) -> usize {
    let asked = server.asked.lock().unwrap();
    let asked = asked.borrow();
    asked.iter().filter(|request| request.address == format!("{SITE}{path}")).count()
}

/// Pages that lead in circles, out, and to where programs are asked not to go.
fn site() -> Server {
    let server = Server::default();
    let robots = "User-agent: *\nDisallow: /docs/private\n";
    server.answer(&format!("{SITE}/robots.txt"), 200, &[], robots);
    let out = "https://elsewhere.example/docs/x";
    page(&server, "/docs/", &["a#part", "a?", "./b/../a", "//docs.example/docs/b", "/other", out]);
    page(&server, "/docs/a", &["/docs/", "b", "%63", "private/x", "mailto:a@a.example", "/docsx"]);
    page(&server, "/docs/b", &["c", "../docs/a", "gone", "e"]);
    page(&server, "/docs/c", &["d"]);
    page(&server, "/docs/d", &[]);
    page(&server, "/docs/e", &[]);
    for path in ["/docs/private/x", "/other", "/docsx"] {
        page(&server, path, &[]);
    }
    server
}

#[test]
fn links_are_followed_once_beneath_a_place_and_no_further() {
    let server = site();
    let mut http = following(&server, 8, 100);
    let listing = http.list(None).unwrap();
    assert_eq!(ids(&listing), ["docs/", "docs/a", "docs/b", "docs/c", "docs/d", "docs/e"]);
    assert!(listing.is_whole);
    assert_eq!(listing.gone, ["docs/gone", "docs/private/x"]);
    assert_eq!(listing.entries[1].link.as_deref(), Some("https://docs.example/docs/a"));
    let skipped: Vec<&str> = listing.skipped.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(skipped, ["`robots.txt` asks not to fetch it"]);
    for path in ["/docs/private/x", "/other", "/docsx"] {
        assert_eq!(asked(&server, path), 0, "{path}");
    }
    // It is read as it was followed.
    assert!(bytes(&http.fetch(&listing.entries[1], None).unwrap()).starts_with(b"<p>/docs/a"));
    assert_eq!(asked(&server, "/docs/a"), 1);
    let near = following(&server, 1, 100).list(None).unwrap();
    assert_eq!(ids(&near), ["docs/", "docs/a", "docs/b"]);
    let few = following(&server, 8, 2).list(None).unwrap();
    assert_eq!(ids(&few), ["docs/", "docs/a"]);
    assert!(few.skipped.iter().any(|(_, why)| why.contains("pages_max")), "{:?}", few.skipped);
}

#[test]
fn no_address_leads_elsewhere_once_it_is_decoded_nor_past_robots() {
    let server = Server::default();
    let robots = "User-agent: *\nDisallow: /docs/%7Eprivate/\nDisallow: /docs/secret.html\n";
    server.answer(&format!("{SITE}/robots.txt"), 200, &[], robots);
    let out = ["..%2fadmin/keys.html", "%252e%252e/admin/x", "..%5Cadmin", "a/..;/..;/admin/y"];
    page(&server, "/docs/", &[&["a.html", "~private/x", "secret%2ehtml"][..], &out[..]].concat());
    page(&server, "/docs/a.html", &["/docs/b%2f..%2f..%2fadmin/z"]);
    for to in out.iter().chain(&["b%2f..%2f..%2fadmin/z"]) {
        // As it is asked for, in one form.
        page(&server, &format!("/docs/{}", to.replace("%2f", "%2F")), &[]);
    }
    page(&server, "/docs/~private/x", &[]);
    page(&server, "/docs/secret.html", &[]);
    page(&server, "/docs/secret%2Ehtml", &[]);
    let listing = following(&server, 8, 100).list(None).unwrap();
    assert_eq!(ids(&listing), ["docs/", "docs/a.html"]);
    let why = |part: &str| listing.skipped.iter().filter(|it| it.1.contains(part)).count();
    assert_eq!((why("robots.txt"), why("once it is decoded")), (2, 5), "{:?}", listing.skipped);
    let all = server.asked.lock().unwrap().borrow().len();
    assert_eq!(all, 3, "the pages and `robots.txt`");
    // The same of a list that the server keeps.
    let map = format!("{BASE}a\n{BASE}..%2fadmin/keys.html\n");
    server.answer(&format!("{BASE}map"), 200, &[], &map);
    let listing = pages(&server, &[], Some("map")).list(None).unwrap();
    assert_eq!((ids(&listing), listing.skipped.len()), (vec!["a"], 1));
}

#[test]
fn pages_say_themselves_that_they_lead_nowhere() {
    let server = site();
    let place = |path: &str| format!("{SITE}{path}");
    let html = ("content-type", "text/html");
    for (headers, text) in [
        (vec![html], "<meta name=robots content='noindex, NoFollow'><a href=b>x</a>"),
        (vec![html, ("x-robots-tag", "nofollow")], "<a href=b>x</a>"),
        (vec![html], "<a href=b rel='x nofollow'>x</a>"),
        (vec![html], "<div hidden><a href=b>x</a></div><!-- <a href=b>x</a> -->"),
        (vec![html], "<base href='https://elsewhere.example/docs/'><a href=b>x</a>"),
    ] {
        server.answer(&place("/docs/"), 200, &headers, text);
        assert_eq!(ids(&following(&server, 8, 9).list(None).unwrap()), ["docs/"], "{text}");
    }
    server.answer(&place("/docs/"), 200, &[html], "<base href=/docs/b><a href=c>x</a>");
    let found = following(&server, 8, 9).list(None).unwrap();
    assert_eq!(ids(&found), ["docs/", "docs/c", "docs/d"]);
}

#[test]
fn a_page_that_fails_is_not_gone_and_neither_is_what_it_leads_to() {
    let server = site();
    let answer = |path: &str, status, headers: &[(&str, &str)]| {
        server.answer(&format!("{SITE}{path}"), status, headers, "");
    };
    answer("/docs/b", 503, &[]);
    let mut http = following(&server, 8, 100);
    let listing = http.list(None).unwrap();
    // What only it leads to is not known, and is as it was.
    let found = vec!["docs/", "docs/a", "docs/b", "docs/c", "docs/d"];
    assert_eq!((ids(&listing), listing.is_whole), (found, false));
    let away = http.fetch(&listing.entries[2], None);
    assert!(matches!(away, Err(ConnectError::Away { .. })), "{away:?}");
    assert_eq!(asked(&server, "/docs/b"), 1);
    // For a while elsewhere, such as where somebody logs in: not to be had now.
    answer("/docs/b", 302, &[("location", "https://elsewhere.example/login")]);
    assert!(!following(&server, 8, 100).list(None).unwrap().is_whole);
    // Gone, or for ever elsewhere: no page any more, and what is there instead is followed to.
    answer("/docs/b", 410, &[]);
    let gone = following(&server, 8, 100).list(None).unwrap();
    assert_eq!((ids(&gone), gone.is_whole), (vec!["docs/", "docs/a", "docs/c", "docs/d"], true));
    assert_eq!(gone.gone, ["docs/b", "docs/private/x"]);
    answer("/docs/b", 301, &[("location", "/docs/d")]);
    let moved = following(&server, 8, 100).list(None).unwrap();
    assert_eq!((ids(&moved), moved.is_whole), (vec!["docs/", "docs/a", "docs/c", "docs/d"], true));
    // Who does not say what programs may fetch is asked nothing else.
    answer("/robots.txt", 500, &[]);
    let before = asked(&server, "/docs/");
    let away = following(&server, 8, 100).list(None);
    assert!(matches!(away, Err(ConnectError::Away { .. })), "{away:?}");
    assert_eq!(asked(&server, "/docs/"), before);
    answer("/robots.txt", 404, &[]);
    assert_eq!(following(&server, 8, 100).list(None).unwrap().entries.len(), 5);
}
