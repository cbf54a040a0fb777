//! Raw request and response, with strict decoding that rejects what lenient libraries would repair.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

const BODY_MAX: usize = 4 << 20;

pub(crate) type Pairs = Vec<(String, String)>;

#[derive(Debug)]
pub(crate) struct Incoming {
    pub method: String,
    pub path: String,
    pub raw_query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Incoming {
    pub(crate) async fn read(request: Request<Body>) -> Option<Self> {
        let (parts, body) = request.into_parts();
        Some(Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            raw_query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: to_bytes(body, BODY_MAX).await.ok()?,
        })
    }

    /// Returns the request in a form that can be forwarded.
    pub(crate) fn into_request(self) -> Result<Request<Body>, axum::http::Error> {
        let Self { method, path, raw_query, headers, body } = self;
        let query = if raw_query.is_empty() { raw_query } else { format!("?{raw_query}") };
        let mut request = Request::builder()
            .method(method.as_str())
            .uri(format!("{path}{query}"))
            .body(Body::from(body))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the content type in lower case without its parameters.
    pub(crate) fn media_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(crate) fn query(&self) -> Result<Pairs, String> {
        decode_pairs(&self.raw_query)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Decodes `a=b&c=d`. Rejects broken escapes, text that is not UTF-8, and characters that a correct encoder would have
/// escaped.
pub(crate) fn decode_pairs(raw: &str) -> Result<Pairs, String> {
    if raw.is_empty() {
        return Ok(Vec::new());
    }
    raw.split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` has no `=`"))?;
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(raw: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or_default()),
                    _ => return Err(format!("`{raw}` has a broken escape")),
                }
            }
            b' ' | b'"' | b'<' | b'>' | 0..=0x1f | 0x7f..=0xff => {
                return Err(format!("`{raw}` is not percent-encoded"));
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("`{raw}` is not UTF-8"))
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: Option<Value>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None }
    }

    pub(crate) fn text(&self) -> String {
        self.body.as_ref().map(Value::to_string).unwrap_or_default()
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let text = self.text();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.body.is_some() {
            let json = axum::http::HeaderValue::from_static("application/json; charset=utf-8");
            response.headers_mut().insert("content-type", json);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_correctly_encoded_pairs() {
        let pairs = decode_pairs("title=Ren%C3%A9e+B.&notes=a%3Db%26c");
        assert_eq!(pairs, Ok(vec![("title".into(), "Renée B.".into()), ("notes".into(), "a=b&c".into())]));
    }

    #[test]
    fn rejects_badly_encoded_pairs() {
        for raw in ["title=%zz", "title=%C3", "title", "title=\"x\"", "title=a b"] {
            assert!(decode_pairs(raw).is_err(), "{raw}");
        }
    }
}
