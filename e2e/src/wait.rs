//! Waiting for conditions, with a deadline that names what did not come.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long between two looks. Short beside what is waited for, long beside what a look costs.
const INTERVAL: Duration = Duration::from_millis(100);

/// Limit of one probe over HTTP.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Calls `look` until it gives a value. An error of `look` is kept and shown when `limit` has passed.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    let mut complaint;
    loop {
        match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => complaint = None,
            Err(error) => complaint = Some(error),
        }
        if begun.elapsed() >= limit {
            match complaint {
                Some(error) => bail!("no {what} within {} s: {error:#}", limit.as_secs()),
                None => bail!("no {what} within {} s", limit.as_secs()),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether `GET path` answers 200. Any failure is a no.
#[must_use]
pub fn answers_ok(address: SocketAddr, path: &str) -> bool {
    fetch(address, path)
        .is_ok_and(|answer| answer.lines().next().is_some_and(|status| status.contains(" 200 ")))
}

/// The whole answer to `GET path`, header included.
pub fn fetch(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
    connection.set_read_timeout(Some(PROBE_TIMEOUT))?;
    connection.set_write_timeout(Some(PROBE_TIMEOUT))?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
