//! Vectors from an endpoint that speaks as OpenAI's `embeddings` does.
//!
//! Where it may be is held to the rules of every way out (`outbound`). No redirect is followed, and
//! an answer has a bound; what may be sent there is for whoever asks to know.

use crate::credential::read_secret;
use crate::http::{Connector, READ_AHEAD_MAX, chain, connector};
use crate::outbound::networks;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lockgate_core::declare;
use lockgate_types::{Json, JsonLimits, Object};
use std::time::Duration;

/// How long one answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Texts of one request.
pub const EMBEDDED_TEXTS_MAX: usize = 64;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An endpoint that makes vectors.
pub struct Embeddings {
    declared: declare::Embeddings,
    address: Uri,
    client: Client<Connector, Full<Bytes>>,
}

impl Embeddings {
    /// The endpoint that a bundle declares.
    ///
    /// # Errors
    ///
    /// In words, if it is where it may not be.
    pub fn new(declared: &declare::Embeddings) -> Result<Self, String> {
        let address = format!("{}/embeddings", declared.base_url.trim_end_matches('/'));
        let uri: Uri = address.parse().map_err(|_| format!("`{address}` is no address"))?;
        let connector = connector(&uri, &networks(&declared.allow_networks))?;
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX);
        client.http1_max_buf_size(READ_AHEAD_MAX);
        Ok(Self { declared: declared.clone(), address: uri, client: client.build(connector) })
    }

    /// The vectors of texts, in their order.
    ///
    /// # Errors
    ///
    /// In words, if it does not answer, or with something else.
    pub async fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        if texts.len() > EMBEDDED_TEXTS_MAX {
            return Err(format!("more than {EMBEDDED_TEXTS_MAX} texts at once"));
        }
        let input: Vec<Json> = texts.iter().map(|text| Json::from(*text)).collect();
        let body = Object::new()
            .with("encoding_format", "float")
            .with("input", input)
            .with("model", self.declared.model.as_str());
        let mut request = Request::post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(Json::from(body).to_bytes())))
            .map_err(|error| error.to_string())?;
        if let Some(secret) = &self.declared.credential {
            let secret = read_secret(secret).await.map_err(|why| why.to_string())?;
            let shown = HeaderValue::from_str(&format!("Bearer {}", secret.expose()));
            let mut shown = shown.map_err(|_| "its credential cannot be sent".to_owned())?;
            shown.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        let answered = tokio::time::timeout(ANSWERED_WITHIN, self.answer(request)).await;
        let slow = || format!("it did not answer within {} s", ANSWERED_WITHIN.as_secs());
        let body = answered.map_err(|_| slow())??;
        let json = Json::parse(&body, &JsonLimits::OWN).map_err(|error| error.to_string())?;
        vectors(&json, texts.len()).ok_or_else(|| "its answer is no list of vectors".to_owned())
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Bytes, String> {
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("it answered HTTP {}", status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| "its answer broke off, or is too long".to_owned())?;
        Ok(body.to_bytes())
    }
}

/// Each has its place, whatever order they are answered in.
fn vectors(json: &Json, count: usize) -> Option<Vec<Vec<f32>>> {
    let mut all: Vec<Option<Vec<f32>>> = vec![None; count];
    for item in json.get("data")?.as_array()? {
        let at = usize::try_from(item.get("index")?.as_i64()?).ok()?;
        let numbers = item.get("embedding")?.as_array()?.iter().map(|number| match number {
            Json::Number(number) => number.text().parse().ok(),
            _ => None,
        });
        *all.get_mut(at)? = Some(numbers.collect::<Option<Vec<f32>>>()?);
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vector_is_of_its_text_and_none_is_missing() {
        let read = |text: &str| {
            let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            vectors(&json, 2)
        };
        let both = r#"{"data":[{"index":1,"embedding":[1e0,2]},{"index":0,"embedding":[3,4]}]}"#;
        assert_eq!(read(both), Some(vec![vec![3.0, 4.0], vec![1.0, 2.0]]));
        for wrong in [
            r#"{"data":[{"index":0,"embedding":[3,4]}]}"#,
            r#"{"data":[{"index":0,"embedding":[3]},{"index":2,"embedding":[3]}]}"#,
            r#"{"data":[{"index":0,"embedding":["3"]},{"index":1,"embedding":[3]}]}"#,
            r#"{"error":"no"}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
