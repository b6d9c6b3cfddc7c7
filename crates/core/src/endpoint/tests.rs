use super::*;
use lockgate_types::{JsonLimits, Object};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()
}

fn field(place: Spot, name: &str, is_required: bool) -> Field {
    Field { place, name: name.to_owned(), is_required }
}

/// The endpoint of the corpus, and of `crates/lockgate/tests/http_tools.rs`.
fn look() -> Endpoint {
    let path = "/tickets/{project}{number}/{part}";
    let fields = [
        ("project", field(Spot::Path, "project", true)),
        ("number", field(Spot::Path, "number", true)),
        ("part", field(Spot::Path, "part", true)),
        ("q", field(Spot::Query, "q", false)),
        ("tags", field(Spot::Query, "tag[]", false)),
        ("list", field(Spot::QueryList, "list", false)),
        ("trace", field(Spot::Header, "X-Trace", false)),
        ("note", field(Spot::Member, "note", false)),
        ("amount", field(Spot::Member, "amount", false)),
    ];
    Endpoint {
        method: MethodWord::Put,
        path: path.to_owned(),
        pieces: parse(path).unwrap(),
        fields: fields.map(|(name, field)| (name.to_owned(), field)).into(),
        content_type: "application/json".to_owned(),
        needs_body: false,
        schema: Object::new().into(),
        description: String::new(),
    }
}

fn assembled(arguments: &str) -> Result<Assembled, String> {
    look().assemble(json(arguments).as_object())
}

#[test]
fn arguments_make_one_request() {
    let got = assembled(
        r#"{"amount": 1.50, "project": "a b", "number": 7, "part": "ü?#&=%20;:@",
            "q": "a&b=c d+%/../x", "tags": ["x,y", true], "list": ["1", "2,3"],
            "trace": "Bearer x: y", "note": "line\r\nline"}"#,
    )
    .unwrap();
    assert_eq!(
        got.target,
        "/tickets/a%20b7/%C3%BC%3F%23%26%3D%2520%3B%3A%40?q=a%26b%3Dc%20d%2B%25%2F..%2Fx\
         &tag%5B%5D=x%2Cy&tag%5B%5D=true&list=1,2%2C3"
    );
    assert_eq!(got.headers, [("X-Trace".to_owned(), "Bearer x: y".to_owned())]);
    let body = String::from_utf8(got.body.unwrap()).unwrap();
    assert_eq!(body, r#"{"amount":1.50,"note":"line\r\nline"}"#);
}

#[test]
fn a_body_is_there_where_something_is_in_it() {
    let path = r#""project": "a", "number": "1", "part": "x""#;
    assert_eq!(assembled(&format!("{{{path}}}")).unwrap().body, None);
    let needs = Endpoint { needs_body: true, ..look() };
    let arguments = json(&format!("{{{path}}}"));
    assert_eq!(needs.assemble(arguments.as_object()).unwrap().body.unwrap(), b"{}");
    let mut whole = look();
    whole.fields.insert("body".to_owned(), field(Spot::Body, "body", true));
    let arguments = json(&format!(r#"{{{path}, "body": [2, {{"b": 1, "a": null}}]}}"#));
    let body = whole.assemble(arguments.as_object()).unwrap().body.unwrap();
    assert_eq!(body, br#"[2,{"a":null,"b":1}]"#);
}

#[test]
fn nothing_of_the_corpus_makes_a_request() {
    let cases = json(include_str!("../../../../corpus/http/refused.json"));
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 80, "{}", cases.len());
    for case in cases {
        let arguments = case.get("arguments").unwrap();
        let got = look().assemble(arguments.as_object());
        assert!(got.is_err(), "{case}: {got:?}");
    }
}

#[test]
fn what_a_path_and_its_argument_make_together_is_no_step() {
    let mut endpoint = look();
    endpoint.path = "/a/.{project}".to_owned();
    endpoint.pieces = parse(&endpoint.path).unwrap();
    endpoint.fields.retain(|name, _| name == "project");
    let with = |project: &str| endpoint.assemble(Some(&Object::new().with("project", project)));
    assert_eq!(with("git").unwrap().target, "/a/.git");
    // What some servers cut off leaves a step.
    assert!(with(";x").is_err() && with("\u{ff0e}").is_err());
}
