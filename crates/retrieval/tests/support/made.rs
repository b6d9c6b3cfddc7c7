//! Documents that are too large, or too binary, to lie in the repository: made anew each time, and
//! the same each time.

use super::ORDERS;
use std::io::Write as _;

/// A file of an archive.
pub(crate) struct Packed {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_deflated: bool,
}

/// A file that is stored as it is.
pub(crate) fn stored(name: &'static str, text: &str) -> Packed {
    Packed { name, bytes: text.as_bytes().to_vec(), is_deflated: false }
}

/// A file that inflates to that many mebibytes of spaces.
pub(crate) fn bomb(name: &'static str, mebibytes: usize) -> Packed {
    let fastest = flate2::Compression::fast();
    let mut stream = flate2::write::DeflateEncoder::new(Vec::new(), fastest);
    for _ in 0..mebibytes * 16 {
        stream.write_all(&[b' '; 1 << 16]).unwrap();
    }
    Packed { name, bytes: stream.finish().unwrap(), is_deflated: true }
}

/// An archive of these files. What it says of sizes and sums is nothing.
pub(crate) fn archive(files: &[Packed]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let two = |number: usize| u16::try_from(number).unwrap().to_le_bytes();
    let four = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    for file in files {
        let at = bytes.len();
        let method = if file.is_deflated { 8 } else { 0 };
        let mut common = Vec::new();
        common.extend(two(20));
        common.extend(two(0));
        common.extend(two(method));
        common.extend([0; 8]);
        common.extend(four(file.bytes.len()));
        common.extend(four(1));
        common.extend(two(file.name.len()));
        common.extend(two(0));
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(file.name.as_bytes());
        bytes.extend(&file.bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend(two(20));
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(four(at));
        directory.extend(file.name.as_bytes());
    }
    let at = bytes.len();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06");
    bytes.extend([0; 4]);
    bytes.extend(two(files.len()));
    bytes.extend(two(files.len()));
    bytes.extend(four(directory.len()));
    bytes.extend(four(at));
    bytes.extend(two(0));
    bytes
}

/// A text of Word with this between the tags of its body.
pub(crate) fn docx(body: &str) -> Vec<u8> {
    let text = format!("<w:document xmlns:w='x'><w:body>{body}</w:body></w:document>");
    let core = "<p><dc:title>Plan</dc:title><dc:creator>Ada</dc:creator></p>";
    archive(&[stored("word/document.xml", &text), stored("docProps/core.xml", core)])
}

/// A PDF file of one page that draws this, with this beside its page.
pub(crate) fn pdf(content: &str, beside: &str) -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R \
             /Resources << /Font << /F1 5 0 R >> >> {beside} >>"
        ),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", at + 1).bytes());
    }
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for place in places {
        bytes.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let trailer = format!("trailer << /Size {} /Root 1 0 R >>\n", objects.len() + 1);
    bytes.extend(format!("{trailer}startxref\n{start}\n%%EOF\n").bytes());
    bytes
}

/// A text in characters that have no shape.
pub(crate) fn in_tags(text: &str) -> String {
    text.chars().filter_map(|it| char::from_u32(u32::from(it) + 0xe0000)).collect()
}

/// A document that hides orders, by the place in which it does.
pub(crate) fn hiding() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let shown = "<w:p><w:r><w:t>A plan.</w:t></w:r></w:p>";
    let run = |properties: &str, text: &str| {
        docx(&format!("{shown}<w:p><w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r></w:p>"))
    };
    let drawn = |before: &str| {
        let text = "BT /F1 12 Tf 50 700 Td (A plan.) Tj ET";
        pdf(&format!("{text} q {before} BT /F1 12 Tf 50 600 Td ({ORDERS}) Tj ET Q"), "")
    };
    let note = format!("/Annots [<< /Type /Annot /Subtype /Text /Contents ({ORDERS}) >>]");
    vec![
        ("docx-vanish", "a.docx", run("<w:vanish/>", ORDERS)),
        ("docx-white", "a.docx", run("<w:color w:val='FFFFFF'/>", ORDERS)),
        ("docx-tiny", "a.docx", run("<w:sz w:val='2'/>", ORDERS)),
        (
            "docx-deleted",
            "a.docx",
            docx(&format!(
                "{shown}<w:p><w:del><w:r><w:delText>{ORDERS}</w:delText></w:r></w:del></w:p>"
            )),
        ),
        (
            "docx-picture",
            "a.docx",
            docx(&format!("{shown}<w:p><w:drawing><wp:docPr descr='{ORDERS}'/></w:drawing></w:p>")),
        ),
        ("docx-comment", "a.docx", docx(&format!("{shown}<!-- {ORDERS} -->"))),
        ("pdf-white", "a.pdf", drawn("1 1 1 rg")),
        ("pdf-invisible", "a.pdf", drawn("3 Tr")),
        ("pdf-outside", "a.pdf", drawn("1 0 0 1 5000 0 cm")),
        ("pdf-tiny", "a.pdf", drawn("0.05 0 0 0.05 50 50 cm")),
        ("pdf-note", "a.pdf", pdf("BT /F1 12 Tf 50 700 Td (A plan.) Tj ET", &note)),
        ("text-tags", "a.txt", format!("A plan.{}", in_tags(ORDERS)).into_bytes()),
        ("html-tags", "a.html", format!("<p>A plan.{}</p>", in_tags(ORDERS)).into_bytes()),
    ]
}

/// A document that is meant to break whoever reads it.
pub(crate) fn breaking() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let document = || stored("word/document.xml", "<w:document/>");
    let many = |text: &str, count: usize| text.repeat(count).into_bytes();
    let growing = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><x>&b;</x>";
    let deep = format!("{}{}", "<w:p>".repeat(10_000), "</w:p>".repeat(10_000));
    vec![
        ("bomb", "a.docx", archive(&[bomb("word/document.xml", 160)])),
        (
            "bomb-in-parts",
            "a.docx",
            archive(&[document(), bomb("word/comments.xml", 48), bomb("word/header1.xml", 48)]),
        ),
        ("two-of-a-name", "a.docx", archive(&[document(), document()])),
        ("growing-entities", "a.docx", archive(&[stored("word/document.xml", growing)])),
        ("deep-docx", "a.docx", docx(&deep)),
        ("empty-archive", "a.docx", archive(&[])),
        ("half-an-archive", "a.docx", docx("<w:p/>")[..80].to_vec()),
        ("deep-html", "a.html", many("<div>", 10_000)),
        ("wide-html", "a.html", many("<p>x<td><li>", 20_000)),
        ("attributes-html", "a.html", [b"<p ".to_vec(), many("a=b ", 200_000)].concat()),
        ("deep-markdown", "a.md", many("> ", 10_000)),
        ("brackets-markdown", "a.md", many("[", 200_000)),
        ("emphasis-markdown", "a.md", many("*a _b ", 100_000)),
        ("deep-json", "a.json", many("[", 100_000)),
        ("wide-csv", "a.csv", many("a,", 100_000)),
        ("quoted-csv", "a.csv", [b"a,b\n\"".to_vec(), many("x\n", 100_000)].concat()),
        ("deep-pdf", "a.pdf", pdf(&"[".repeat(200_000), "")),
        ("deep-pdf-object", "a.pdf", pdf("", &format!("/A {}", "[".repeat(100_000)))),
        ("pdf-of-nothing", "a.pdf", b"%PDF-1.7\n".to_vec()),
        ("pdf-own-parent", "a.pdf", replaced(&pdf("", ""), "/Kids [3 0 R]", "/Kids [2 0 R]")),
        ("pdf-far-table", "a.pdf", replaced(&pdf("", ""), "startxref\n", "startxref\n999999")),
        ("pdf-huge-length", "a.pdf", replaced(&pdf("", ""), "/Length 0", "/Length 4294967295")),
        ("nested-mail", "a.eml", nested_mail(200)),
        ("binary", "a.txt", (0..=255).cycle().take(100_000).collect()),
    ]
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replace(from, to).into_bytes()
}

fn nested_mail(depth: usize) -> Vec<u8> {
    let mut text = String::new();
    for at in 0..depth {
        text.push_str(&format!(
            "From: a@a.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; \
             boundary=b{at}\r\n\r\n--b{at}\r\nContent-Type: message/rfc822\r\n\r\n"
        ));
    }
    text.push_str("From: a@a.example\r\n\r\nin the middle\r\n");
    text.into_bytes()
}
