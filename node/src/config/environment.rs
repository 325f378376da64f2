//! Which variables of the environment are ours.

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "RECKON_";

/// Variables that other programs of Reckon read. A pod or shell may well hold them beside ours, so they are no
/// mistake here. A name that ends in `*` stands for all that begin with it.
const OF_OTHERS: &[(&str, &str)] = &[
    ("RECKON_CONFIG", "the configuration file of this program, read with the flags"),
    ("RECKON_ENDPOINTS", "where the client and the command line find a store"),
    ("RECKON_OUTPUT", "the output format of the command line"),
    ("RECKON_TIMEOUT", "the deadline of the command line"),
    ("RECKON_LOG", "the log level of the command line and the operator"),
    ("RECKON_E2E*", "the end-to-end tests"),
    ("RECKON_OPERATOR_*", "the operator"),
];

/// The variable that sets the leaf at `path`.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// Whether a variable with our prefix is none of the node's configuration, and rightly there.
pub(super) fn is_foreign(name: &str, value: &str) -> bool {
    let of_others = OF_OTHERS.iter().any(|(known, _)| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *known,
    });
    of_others || is_service_link(name, value)
}

/// Whether Kubernetes put the variable there. In every pod it describes each Service of the namespace, and a
/// Service named `reckon` or `reckon-orders` gives names with our prefix.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") {
        return true;
    }
    // One per named port: RECKON_SERVICE_PORT_CLIENT=7430.
    if name.contains("_SERVICE_PORT_") && value.parse::<u16>().is_ok() {
        return true;
    }
    // RECKON_PORT=tcp://10.0.0.1:7430
    if name.ends_with("_PORT") && value.contains("://") {
        return true;
    }
    // RECKON_PORT_7430_TCP, and the same with _PROTO, _PORT and _ADDR.
    let Some((_, rest)) = name
        .rsplit_once("_PORT_")
        .filter(|(_, rest)| starts_with_digit(rest))
        .or_else(|| name.strip_suffix("_PORT").and_then(|start| start.rsplit_once("_PORT_")))
    else {
        return false;
    };
    let mut parts = rest.split('_');
    let port = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|part| ["TCP", "UDP", "SCTP"].contains(&part));
    let last = parts.next().is_none_or(|part| ["PROTO", "PORT", "ADDR"].contains(&part));
    port && protocol && last && parts.next().is_none()
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}
