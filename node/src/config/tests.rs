use super::layers::{Layers, default_tree, leaves};
use super::*;

fn layers(file: &str, environment: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
    let args =
        ConfigArgs { set: set.iter().map(|&text| text.to_owned()).collect(), ..Default::default() };
    Layers {
        file: Some(("reckon.yaml".to_owned(), file.to_owned())),
        environment: environment
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        flags: args.overrides()?,
    }
    .merge()
}

fn file(text: &str) -> Result<Config, ConfigError> {
    layers(text, &[], &[])
}

#[track_caller]
fn refused(result: Result<Config, ConfigError>, expect: &[&str]) {
    let error = result.expect_err("must be refused").to_string();
    for part in expect {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
    let text = "raft: {heartbeat_ms: 101}";
    let variable = [("RECKON_RAFT_HEARTBEAT_MS", "102")];
    let flag = ["raft.heartbeat_ms=103"];
    assert_eq!(file("").unwrap().raft.heartbeat_ms, 150);
    assert_eq!(file(text).unwrap().raft.heartbeat_ms, 101);
    assert_eq!(layers(text, &variable, &[]).unwrap().raft.heartbeat_ms, 102);
    assert_eq!(layers(text, &variable, &flag).unwrap().raft.heartbeat_ms, 103);
    let twice = ["raft.heartbeat_ms=103", "raft.heartbeat_ms=104"];
    assert_eq!(layers("", &[], &twice).unwrap().raft.heartbeat_ms, 104);
}

#[test]
fn a_flag_of_its_own_beats_the_generic_one() {
    let args = ConfigArgs {
        set: vec!["listen.client=127.0.0.1:1".to_owned(), "node.name=a".to_owned()],
        listen_client: Some("127.0.0.1:2".parse().unwrap()),
        ..Default::default()
    };
    let config = Config::load(&args).unwrap();
    assert_eq!(config.listen.client.port(), 2);
    assert_eq!(config.node.name, "a");
}

#[test]
fn without_a_name_the_node_has_the_host_s() {
    let config = Config::load(&ConfigArgs::default()).unwrap();
    assert!(!config.node.name.is_empty());
}

#[test]
fn absent_null_and_empty_sections_mean_the_defaults() {
    for text in [
        "",
        "# nothing\n",
        "null",
        "{}",
        "raft:\n",
        "raft: null\nlisten: {}\n",
        "raft: {heartbeat_ms: null}\ndiscovery: {dns: }",
        "---\n",
    ] {
        assert_eq!(file(text).unwrap(), Config::default(), "{text:?}");
    }
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    refused(
        file("raft: {hartbeat_ms: 100}"),
        &["raft.hartbeat_ms", "reckon.yaml", "did you mean `heartbeat_ms`?"],
    );
    refused(file("limit: {}"), &["limit", "did you mean `limits`?"]);
    // A key that belongs into a section is pointed there.
    refused(file("heartbeat_ms: 100"), &["did you mean `raft.heartbeat_ms`?"]);
    refused(layers("", &[], &["raft.heartbeat=1"]), &["--set", "`raft.heartbeat_ms`"]);
    // Nothing is suggested where nothing is near.
    let error = file("colour: red").unwrap_err().to_string();
    assert!(error.contains("colour") && !error.contains("did you mean"), "{error}");
}

#[test]
fn an_unknown_variable_is_named_with_the_nearest_known_one() {
    refused(
        layers("", &[("RECKON_RAFT_HEARTBEAT", "1")], &[]),
        &["RECKON_RAFT_HEARTBEAT:", "did you mean `RECKON_RAFT_HEARTBEAT_MS`?"],
    );
    layers("", &[("PATH", "/bin"), ("XRECKON_Y", "1")], &[]).unwrap();
}

#[test]
fn variables_of_other_programs_and_of_kubernetes_are_left_alone() {
    for (name, value) in [
        ("RECKON_ENDPOINTS", "http://a:7430"),
        ("RECKON_E2E", "require"),
        ("RECKON_E2E_CACHE", "/cache"),
        ("RECKON_CONFIG", "/etc/reckon.yaml"),
        ("RECKON_SERVICE_HOST", "10.96.0.7"),
        ("RECKON_SERVICE_PORT", "7430"),
        ("RECKON_PORT", "tcp://10.96.0.7:7430"),
        ("RECKON_ORDERS_CLIENT_SERVICE_HOST", "10.96.0.7"),
        ("RECKON_ORDERS_SERVICE_PORT_CLIENT", "7430"),
        ("RECKON_ORDERS_PORT", "tcp://10.96.0.7:7430"),
        ("RECKON_ORDERS_PORT_7430_TCP", "tcp://10.96.0.7:7430"),
        ("RECKON_ORDERS_PORT_7430_TCP_PROTO", "tcp"),
        ("RECKON_ORDERS_PORT_7430_TCP_PORT", "7430"),
        ("RECKON_ORDERS_PORT_7430_TCP_ADDR", "10.96.0.7"),
        ("RECKON_PORT_53_UDP_ADDR", "10.96.0.7"),
    ] {
        layers("", &[(name, value)], &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (name, value) in [
        ("RECKON_PORT", "7430"),
        ("RECKON_PORT_7430_HTTP", "x"),
        ("RECKON_ENDPOINT", "http://a:7430"),
        ("RECKON_ORDERS_SERVICE_PORT_CLIENT", "many"),
    ] {
        refused(layers("", &[(name, value)], &[]), &[name]);
    }
}

#[test]
fn every_value_has_a_variable_of_its_own_that_is_not_taken_for_kubernetes() {
    let variables: Vec<String> =
        leaves(&default_tree()).iter().map(|path| environment::variable_of(path)).collect();
    for (index, variable) in variables.iter().enumerate() {
        assert!(!variables[..index].contains(variable), "{variable} sets two values");
        for value in ["x", "7430"] {
            assert!(!environment::is_foreign(variable, value), "{variable}");
        }
    }
    assert!(variables.contains(&"RECKON_LISTEN_CLIENT".to_owned()));
}

#[test]
fn text_is_read_as_the_kind_of_value_the_field_holds() {
    let config = layers(
        "",
        &[
            ("RECKON_NODE_NAME", "0042"),
            ("RECKON_DISCOVERY_MODE", "static"),
            ("RECKON_DISCOVERY_STATIC", "a:1, b:2"),
            ("RECKON_FORMATION_CLUSTER_ID", "00000000-0000-0000-0000-000000000001"),
        ],
        &["limits.group_bytes_max=65536"],
    )
    .unwrap();
    assert_eq!(config.node.name, "0042");
    assert_eq!(config.discovery.fixed, ["a:1", "b:2"]);
    assert_eq!(config.limits.group_bytes_max, 65_536);
    assert!(config.formation.cluster_id.is_some());
    let config = layers("", &[], &["discovery.mode=static", "discovery.static=[\"a:1\"]"]).unwrap();
    assert_eq!(config.discovery.fixed, ["a:1"]);
}

#[test]
fn the_probe_that_reads_has_two_names() {
    for name in ["store", "deep"] {
        let config = layers("", &[("RECKON_HEALTH_PROBE_TYPE", name)], &[]).unwrap();
        assert_eq!(config.health.probe_type, ProbeType::Store);
    }
    refused(file("health: {probe_type: quick}"), &["health.probe_type", "quick", "ping", "rpc"]);
}

#[test]
fn a_value_the_field_cannot_hold_is_refused_with_field_source_and_value() {
    refused(file("raft: {heartbeat_ms: fast}"), &["raft.heartbeat_ms", "reckon.yaml", "fast"]);
    refused(file("raft: {heartbeat_ms: -1}"), &["raft.heartbeat_ms", "-1"]);
    refused(file("raft: 7"), &["raft", "section", "heartbeat_ms", "7"]);
    refused(file("- a"), &["section"]);
    refused(
        layers("", &[("RECKON_LISTEN_CLIENT", "7430")], &[]),
        &["listen.client", "RECKON_LISTEN_CLIENT", "7430"],
    );
    refused(layers("", &[], &["logging.format=xml"]), &["--set logging.format", "xml", "json"]);
    refused(layers("", &[], &["raft=1"]), &["raft", "is a section"]);
    refused(layers("", &[], &["raft.heartbeat_ms"]), &["PATH=VALUE"]);
    refused(file("a: [1"), &["reckon.yaml", "not valid YAML"]);
}

#[test]
fn a_value_beyond_its_limit_is_refused_with_the_limit() {
    refused(
        file("limits: {request_timeout_ms: 5}"),
        &["limits.request_timeout_ms", "reckon.yaml", "is 5", "minimum is 100"],
    );
    refused(file("log: {file_bytes: 1}"), &["log.file_bytes", "16777216"]);
    refused(file("shutdown: {drain_ms: 600001}"), &["600001", "maximum is 600000"]);
    refused(file("node: {store_name: \"\"}"), &["node.store_name", "minimum is 1"]);
    for (field, value, limit) in [
        ("probe_interval_ms", "199", "minimum is 200"),
        ("probe_timeout_ms", "60001", "maximum is 60000"),
        ("probe_failures", "0", "minimum is 1"),
        ("consistency_interval_ms", "999", "minimum is 1000"),
    ] {
        let (text, path) = (format!("health: {{{field}: {value}}}"), format!("health.{field}"));
        refused(file(&text), &[&path, "reckon.yaml", value, limit]);
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for (text, expect) in [
        ("raft: {heartbeat_ms: 200}", vec!["raft.heartbeat_ms", "200", "maximum is 166"]),
        ("raft: {election_timeout_ms_max: 500}", vec!["raft.election_timeout_ms_max", "500"]),
        ("listen: {peer: \"127.0.0.1:7430\"}", vec!["listen.peer", "listen.client"]),
        ("formation: {mode: expect}", vec!["formation.expect", "1, 3, 5 or 7", "discovery.mode"]),
        (
            "formation: {mode: expect, expect: 4}\ndiscovery: {mode: static, static: [\"a:1\"]}",
            vec!["formation.expect", "is 4"],
        ),
        ("formation: {cluster_id: mine}", vec!["formation.cluster_id", "mine", "UUID"]),
        ("discovery: {mode: dns}", vec!["discovery.dns.service", "empty"]),
        ("discovery: {mode: static}", vec!["discovery.static", "empty"]),
        ("discovery: {static: [a]}", vec!["discovery.static", "`a`", "port is missing"]),
        ("advertise: {client: nowhere}", vec!["advertise.client", "nowhere"]),
        ("logging: {level: loud!}", vec!["logging.level", "loud!"]),
    ] {
        refused(file(text), &expect);
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    refused(
        layers("raft: {a: 1}\nlog: {b: 2}", &[("RECKON_C", "3")], &["d=4"]),
        &["raft.a", "log.b", "RECKON_C", "--set d"],
    );
    refused(
        file("raft: {heartbeat_ms: 5}\nlog: {cache_bytes: 1}"),
        &["raft.heartbeat_ms", "log.cache_bytes"],
    );
}

#[test]
fn what_is_dumped_reads_back_as_the_same_configuration() {
    for config in [
        Config::default(),
        layers(
            "node: {name: \"null\", pod_uid: \"12\"}\nadvertise: {client: \"a:1\"}",
            &[],
            &["discovery.mode=static", "discovery.static=a:1,[::1]:2", "formation.expect=3"],
        )
        .unwrap(),
    ] {
        let dumped = config.dump().unwrap();
        assert_eq!(file(&dumped).unwrap(), config, "{dumped}");
    }
}

#[test]
fn the_advertised_address_is_the_stated_one_or_one_that_can_be_reached() {
    let config = file("node: {name: store-0}\nlisten: {peer: \"127.0.0.1:7431\"}").unwrap();
    assert_eq!(config.advertised_client(), "store-0:7430");
    assert_eq!(config.advertised_peer(), "127.0.0.1:7431");
    let config = file("advertise: {client: \"store.example:1\"}").unwrap();
    assert_eq!(config.advertised_client(), "store.example:1");
}

#[test]
fn the_schema_allows_what_is_allowed_and_has_every_value() {
    let schema: serde_json::Value = serde_json::from_str(&Config::json_schema()).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["raft"]["type"], serde_json::json!(["object", "null"]));
    for path in leaves(&default_tree()) {
        let leaf = reference::property(&schema, &path).unwrap_or_else(|| panic!("{path}"));
        assert!(leaf["description"].is_string(), "{path} is not described");
    }
    assert_eq!(schema["properties"]["raft"]["properties"]["heartbeat_ms"]["minimum"], 10);
}

#[test]
fn the_reference_is_up_to_date() {
    crate::generated::check("CONFIGURATION.md", &Config::reference());
}
