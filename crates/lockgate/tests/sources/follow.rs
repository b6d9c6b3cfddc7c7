//! Pages that are followed to: what is gone is gone, and a server that fails has not less.

use super::Company;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server of pages: status and body, by path.
struct Site {
    address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let pages: Arc<Mutex<BTreeMap<String, (u16, String)>>> = Arc::default();
        let served = Arc::clone(&pages);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = Arc::clone(&served);
                std::thread::spawn(move || serve(stream, &served));
            }
        });
        Self { address, pages }
    }

    fn page(&self, path: &str, status: u16, body: &str) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }
}

fn serve(mut stream: TcpStream, pages: &Mutex<BTreeMap<String, (u16, String)>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let path = line.split_whitespace().nth(1)?.to_owned();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok()?;
        }
        let all = pages.lock().unwrap();
        let fails = all.get("fails").cloned();
        let (status, body) = fails.or_else(|| all.get(&path).cloned()).unwrap_or((404, "".into()));
        drop(all);
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    }
}

#[test]
fn pages_are_followed_to_and_a_server_that_fails_has_not_less() {
    let site = Site::start();
    let address = site.address;
    let declared = format!(
        "owner = \"it\"\nclassification = \"internal\"\n[connector.http]\n\
         urls = [\"http://{address}/docs/\"]\nfollow = [\"http://{address}/docs/\"]\n\
         [permissions]\nreaders = [\"everyone\"]\n"
    );
    site.page("/robots.txt", 200, "User-agent: lockgate\nDisallow: /docs/private\n");
    site.page("/docs/", 200, "<p>Otters start here. <a href='a#x'>a</a> <a href='/no/'>no</a>");
    site.page("/docs/a", 200, "<p>Otters swim. <a href=b>b</a> <a href=private>p</a>");
    site.page("/docs/b", 200, "<p>Otters sleep. <a href='../docs/'>start</a>");
    site.page("/docs/private", 200, "<p>Otters are private.");
    site.page("/no/", 200, "<p>Otters are not here.");
    let mut company = Company::new(&[("otters", &declared)]);
    company.world.start();
    company.sources(&["run", "otters"]).unwrap();
    let all = ["otters/docs/", "otters/docs/a", "otters/docs/b"];
    assert_eq!(company.finds("alice", "otters"), all);
    let report = company.json(&["show", "otters"])["report"].to_string();
    assert!(report.contains("robots.txt"), "{report}");

    site.page("fails", 503, "");
    let failed = company.sources(&["run", "otters"]).unwrap_err();
    assert!(failed.contains("LG-Q018"), "{failed}");
    assert_eq!(company.finds("alice", "otters"), all);
    site.pages.lock().unwrap().remove("fails");
    // One page fails: it stays, and so does what only it leads to.
    site.page("/docs/a", 500, "");
    company.sources(&["run", "otters"]).unwrap();
    assert_eq!(company.finds("alice", "otters"), all);
    site.page("/docs/a", 200, "<p>Otters swim.");
    company.sources(&["run", "otters"]).unwrap();
    assert_eq!(company.finds("alice", "otters"), all[..2]);
    site.page("/docs/a", 410, "");
    company.sources(&["run", "otters"]).unwrap();
    assert_eq!(company.finds("alice", "otters"), all[..1]);
    company.world.gate.stop().unwrap();
}
