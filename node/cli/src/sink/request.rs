//! Requests to a sink, and what their answers mean for the events in them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reckon_api::client::Settlement;
use reckon_api::connect::Connector;
use reckon_api::v1;

use super::cloud_event::{CloudEvent, Mode};
use super::probe::{Class, Figures};
use crate::failure::Failure;
use crate::subscription::Header;

/// How much of an answer is read: enough for a reason, and for a connection to be used again after a usual one.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How much of an answer becomes a reason.
const REASON_CHARS_MAX: usize = 200;

/// Where requests go, and what is the same in all of them.
#[derive(Debug)]
pub struct Target {
    pub url: String,
    pub mode: Mode,
    pub headers: HeaderMap,
    pub timeout: Duration,
    /// The store's name in the events' source.
    pub store: String,
}

/// Sends requests.
#[derive(Debug)]
pub struct Requests {
    target: Target,
    uri: Uri,
    http: Client<HttpsConnector<Connector>, Full<Bytes>>,
    figures: Figures,
}

/// The headers of every request: the definition's, over them those of the command line, over them those from the
/// environment, which are kept out of logs.
pub fn headers(
    definition: &BTreeMap<String, String>,
    said: &[Header],
    from_environment: &[Header],
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("reckon/", env!("CARGO_PKG_VERSION"))),
    );
    let mut insert = |name: &str, value: &str, sensitive| {
        let wrong = || Failure::usage(format!("`{name}` is no header, or its value cannot be one"));
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(sensitive);
        headers.insert(HeaderName::try_from(name).map_err(|_| wrong())?, value);
        Ok::<_, Failure>(())
    };
    for (name, value) in definition {
        insert(name, value, false)?;
    }
    for Header { name, value } in said {
        insert(name, value, false)?;
    }
    for Header { name, value: variable } in from_environment {
        let value = std::env::var(variable)
            .map_err(|_| Failure::usage(format!("the variable `{variable}` is not set")))?;
        insert(name, value.trim_end(), true)?;
    }
    Ok(headers)
}

impl Requests {
    pub fn new(target: Target, figures: Figures) -> Result<Self, Failure> {
        let uri = with_port(&target.url)
            .ok_or_else(|| Failure::usage(format!("`{}` is no http or https URL", target.url)))?;
        let tls = HttpsConnectorBuilder::new();
        let tls = if uri.scheme_str() == Some("https") {
            tls.with_native_roots().map_err(Failure::Runtime)?
        } else {
            // Nothing is verified where nothing is encrypted; there need not be any certificates.
            tls.with_tls_config(no_certificates())
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(Connector::default());
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { target, uri, http, figures })
    }

    /// Sends events in one request; what becomes of all of them.
    pub async fn send(&self, deliveries: &[v1::Delivery]) -> Settlement {
        let events: Vec<_> = deliveries
            .iter()
            .filter_map(|delivery| Some((delivery, delivery.event.as_ref()?)))
            .map(|(delivery, event)| CloudEvent::new(&self.target.store, delivery, event))
            .collect();
        if events.is_empty() {
            return Settlement::Skip;
        }
        let (mut headers, body) = self.target.mode.write(&events);
        headers.extend(self.target.headers.clone());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;

        let _in_flight = self.figures.in_flight();
        let answer = async {
            let answer = self.http.request(request).await.map_err(|error| deepest(&error))?;
            let (head, body) = answer.into_parts();
            Ok::<_, String>((head.status, head.headers, beginning_of(body).await))
        };
        let (class, settlement) = match tokio::time::timeout(self.target.timeout, answer).await {
            Ok(Ok((status, headers, answer))) => judged(status, &headers, &answer),
            Ok(Err(fault)) => (Some(Class::Transport), Settlement::retry(fault)),
            Err(_) => {
                let ms = self.target.timeout.as_millis();
                (Some(Class::Timeout), Settlement::retry(format!("no answer within {ms} ms")))
            }
        };
        match class {
            None => self.figures.delivered(events.len()),
            Some(class) => self.figures.failed(class),
        }
        settlement
    }
}

/// What an answer means, and of which class the failure is if it is one.
fn judged(status: StatusCode, headers: &HeaderMap, answer: &str) -> (Option<Class>, Settlement) {
    if status.is_success() {
        return (None, Settlement::Ack);
    }
    let text: String = answer.trim().chars().take(REASON_CHARS_MAX).collect();
    let reason = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    let comes_again = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    if status.is_client_error() && !comes_again {
        return (Some(Class::Refused), Settlement::Park { reason });
    }
    let class = if status.is_server_error() { Class::Server } else { Class::Deferred };
    let now = jiff::Timestamp::now();
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|after| after.to_str().ok())
        .and_then(|after| wait_of(after, now));
    (Some(class), Settlement::Retry { reason, after })
}

/// How long `Retry-After` asks to wait: so many seconds, or until a date (RFC 9110, section 10.2.3).
fn wait_of(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    // A date that is over asks for nothing.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The beginning of an answer's body, as text. What cannot be read any more is left out: the status has come.
async fn beginning_of(mut body: Incoming) -> String {
    let mut beginning = BytesMut::new();
    while beginning.len() < ANSWER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            beginning.extend_from_slice(data);
        }
    }
    String::from_utf8_lossy(&beginning).into_owned()
}

/// The URL with its port, which the connector wants to be told.
fn with_port(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let port = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = uri.host().filter(|host| !host.is_empty())?;
    let port = uri.port_u16().unwrap_or(port);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{}://{host}:{port}{path}", uri.scheme_str()?).parse().ok()
}

fn no_certificates() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// The innermost cause: "client error" says nothing, "connection refused" does.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_becomes_of_the_event() {
        let settled = |status: u16| {
            judged(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), " no\n").1
        };
        for status in [200, 201, 204, 299] {
            assert_eq!(settled(status), Settlement::Ack, "{status}");
        }
        for status in [301, 408, 425, 429, 500, 503, 599] {
            assert!(matches!(settled(status), Settlement::Retry { after: None, .. }), "{status}");
        }
        for status in [400, 401, 404, 410, 422] {
            assert!(matches!(settled(status), Settlement::Park { .. }), "{status}");
        }
        assert_eq!(settled(400), Settlement::park("400 Bad Request: no"));
        let (_, long) = judged(StatusCode::GONE, &HeaderMap::new(), &"x".repeat(1000));
        assert_eq!(long, Settlement::park(format!("410 Gone: {}", "x".repeat(200))));
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now: jiff::Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        assert_eq!(wait_of("120", now), Some(Duration::from_mins(2)));
        assert_eq!(wait_of("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(wait_of("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(wait_of("soon", now), None);
    }

    #[test]
    fn a_url_is_http_or_https_and_has_a_port() {
        let check = |url, expected: Option<&str>| {
            assert_eq!(with_port(url).map(|uri| uri.to_string()).as_deref(), expected, "{url}");
        };
        check("http://billing", Some("http://billing:80/"));
        check("https://billing/in?a=b", Some("https://billing:443/in?a=b"));
        check("http://[::1]:8080/in", Some("http://[::1]:8080/in"));
        check("ftp://billing/", None);
        check("billing", None);
        check("", None);
    }

    #[test]
    fn the_environment_s_headers_stand_over_all_others_and_stay_out_of_logs() {
        let definition =
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())].into();
        let said = [Header { name: "A".to_owned(), value: "2".to_owned() }];
        let secret = [Header { name: "b".to_owned(), value: "PATH".to_owned() }];
        let found = headers(&definition, &said, &secret).unwrap();
        assert_eq!(found["a"], "2");
        assert!(found["b"].is_sensitive());
        assert!(!format!("{found:?}").contains(&std::env::var("PATH").unwrap()));
        let missing = [Header { name: "b".to_owned(), value: "NO_SUCH_VARIABLE".to_owned() }];
        assert!(headers(&definition, &said, &missing).is_err());
        assert!(headers(&[("a b".to_owned(), String::new())].into(), &[], &[]).is_err());
    }
}
