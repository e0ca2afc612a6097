//! Protobuf by way of the program: messages that somebody else's library wrote become what its own
//! mapping to JSON makes of them, and what is broken is told.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tidegate_tests::{
    program::{Program, lines},
    python::{python, run},
};

const PROTOBUF: &str = "TIDEGATE_PROTOBUF";

/// A pipeline over a source of Protobuf, in a folder of its own below that of the files.
fn pipeline(folder: &Path, name: &str, source: &Value) -> (Program, std::path::PathBuf) {
    let own = folder.join(name);
    fs::create_dir(&own).expect("a fresh folder");
    let config = json!({
        "pipeline": "messages",
        "data_dir": "data",
        "source": { "protobuf": source },
        "sinks": [{ "name": "rows", "directory": { "path": "rows" } }],
        "dead_letters": { "directory": "dead" },
    });
    let file = own.join("pipeline.yaml");
    fs::write(&file, config.to_string()).expect("a fresh folder");
    (Program::new(file), own)
}

fn json_lines(folder: &Path) -> Vec<Value> {
    let all = lines(folder).into_iter();
    all.map(|line| serde_json::from_slice(&line).expect("it is JSON")).collect()
}

const PROTO: &str = r#"
syntax = "proto3";
package shop.v1;
import "shop/v1/common.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Order {
  int64 order_id = 1;
  string customer = 2;
  repeated Line lines = 3;
  map<string, double> totals = 4;
  map<int32, Status> by_number = 5;
  Status status = 6;
  optional uint64 maybe = 7;
  oneof paid { string card = 8; bool cash = 9; }
  bytes token = 10;
  float small = 11;
  google.protobuf.Timestamp at = 12;
  google.protobuf.Duration took = 13;
  google.protobuf.Struct more = 14;
  google.protobuf.Any any = 15;
  google.protobuf.StringValue note = 16;
  google.protobuf.Int64Value wrapped = 17;
  google.protobuf.FieldMask mask = 18;
  google.protobuf.Value value = 19;
  repeated sint32 deltas = 20;
  string renamed = 21 [json_name = "Other-Name"];
  Order before = 22;
}
"#;

const COMMON: &str = r#"
syntax = "proto3";
package shop.v1;
enum Status { STATUS_UNKNOWN = 0; STATUS_OPEN = 1; STATUS_DONE = 2; }
message Line { string sku = 1; int32 quantity = 2; fixed64 cents = 3; }
"#;

/// Compiles, writes messages in both framings, and prints what the library's mapping makes of them.
const WRITE: &str = r#"
import json, random, struct, sys
sys.path.insert(0, sys.argv[1] + "/out")
from importlib.resources import files
from grpc_tools import protoc
root = sys.argv[1] + "/protos"
include = str(files("grpc_tools") / "_proto")
import os
os.makedirs(sys.argv[1] + "/out", exist_ok=True)
assert protoc.main(["protoc", f"-I{root}", f"-I{include}", f"--python_out={sys.argv[1]}/out", "--include_imports",
    f"--descriptor_set_out={sys.argv[1]}/order.desc", "shop/v1/order.proto", "shop/v1/common.proto"]) == 0
import importlib
importlib.invalidate_caches()
from google.protobuf import json_format, any_pb2
from google.protobuf.internal.encoder import _VarintBytes
from shop.v1 import order_pb2, common_pb2
random.seed(11)
def order(i, depth=1):
    m = order_pb2.Order(order_id=random.choice([0, i, -2**63, 2**63 - 1]), customer=random.choice(["", "c\u00e9\"\n", "x" * 100]))
    for _ in range(random.randrange(4)):
        m.lines.add(sku=f"s{i}", quantity=random.randrange(-3, 3), cents=random.choice([0, 2**64 - 1]))
    for k in random.sample("zyxab", 3): m.totals[k] = random.choice([0.0, 1.5, float("inf")]) if k == "z" else random.random()
    for k in random.sample(range(-20, 20), 3): m.by_number[k] = random.randrange(3)
    m.status = random.choice([0, 1, 2, 77])
    if i % 3 == 0: m.maybe = random.choice([0, 2**64 - 1])
    if i % 4 == 0: m.card = random.choice(["", "card"])
    if i % 4 == 1: m.cash = random.choice([True, False])
    m.token = random.randbytes(i % 5)
    m.small = random.choice([0.0, 0.1, -2.5, float("nan")])
    if i % 2: m.at.FromNanoseconds(random.choice([0, 1_000_000, 1_772_323_200_123_456_789 + i, -1]))
    if i % 2: m.took.FromNanoseconds(random.choice([0, 1_500_000_000, -1, 3_000_000_001]))
    if i % 5 == 0: m.more.update({"b": [1, "x", None, {"c": True}], "a": {}, "n": 2.5})
    if i % 6 == 0: m.any.Pack(common_pb2.Line(sku="any", cents=7))
    if i % 6 == 1: m.any.Pack(m.at)
    if i % 3 == 1: m.note.value = random.choice(["", "note"])
    if i % 3 == 2: m.wrapped.value = 2**53 + 1
    if i % 7 == 0: m.mask.paths.extend(["order_id", "lines.sku"])
    if i % 7 == 1: json_format.ParseDict(random.choice([1.5, "v", True, None, [1], {"k": 1}]), m.value)
    m.deltas.extend(random.choices([0, -1, 2**31 - 1], k=i % 4))
    m.renamed = random.choice(["", "r"])
    if depth and i % 9 == 0: m.before.CopyFrom(order(i + 1, depth - 1))
    return m
orders = [order(i) for i in range(1500)]
with open(sys.argv[1] + "/orders.binpb", "wb") as file:
    for m in orders:
        b = m.SerializeToString(); file.write(_VarintBytes(len(b)) + b)
with open(sys.argv[1] + "/orders.u32", "wb") as file:
    for m in orders:
        b = m.SerializeToString(); file.write(struct.pack(">I", len(b)) + b)
plain = [json_format.MessageToDict(m) for m in orders]
full = [json_format.MessageToDict(m, always_print_fields_with_no_presence=True, preserving_proto_field_name=True) for m in orders]
print(json.dumps({"plain": plain, "full": full}))
"#;

fn protos(folder: &Path) {
    let below = folder.join("protos/shop/v1");
    fs::create_dir_all(&below).expect("a fresh folder");
    fs::write(below.join("order.proto"), PROTO).expect("a fresh folder");
    fs::write(below.join("common.proto"), COMMON).expect("a fresh folder");
}

#[test]
fn messages_are_what_their_own_library_makes_of_them() {
    let test = "Protobuf written by google.protobuf";
    let Some(interpreter) = python(test, PROTOBUF) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    protos(folder.path());
    let wanted = run(&interpreter, WRITE, folder.path());
    let plain = json!({
        "paths": ["../orders.binpb"], "schema": "../order.desc", "message": "shop.v1.Order",
        "int64": "text",
    });
    let full = json!({
        "paths": ["../orders.u32"], "schema": "../protos/shop/v1/order.proto",
        "imports": ["../protos"], "message": "shop.v1.Order", "framing": "u32", "int64": "text",
        "names": "proto", "defaults": "write",
    });
    for (name, source) in [("plain", plain), ("full", full)] {
        let (program, own) = pipeline(folder.path(), name, &source);
        let wanted = wanted[name].as_array().expect("messages");
        assert_eq!(program.data("run", &[])["delivered"], wanted.len(), "{name}");
        assert_eq!(program.data("verify", &[])["conserved"], true, "{name}");
        for (found, wanted) in json_lines(&own.join("rows")).iter().zip(wanted) {
            assert_eq!(found, &wanted.clone(), "{name}");
        }
    }
}

#[test]
fn what_is_broken_is_a_dead_letter_at_its_byte() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    protos(folder.path());
    // Field 1 is a number, field 90 unknown to the schema, and field 2 a text that is no UTF-8.
    let messages: [&[u8]; 5] =
        [b"\x08\x05", b"\xd0\x05\x01\x08\x06", b"\x12\x02\xff\xfe", b"\x12\x7f", b"\x08\x07"];
    let mut file = Vec::new();
    for message in messages {
        file.push(message.len() as u8);
        file.extend_from_slice(message);
    }
    file.extend_from_slice(b"\x09\x08\x08");
    fs::write(folder.path().join("a.binpb"), &file).expect("a fresh folder");
    fs::write(folder.path().join("b.binpb"), [b"\x02\x08\x09".as_slice(), &[0xff; 40]].concat())
        .expect("a fresh folder");
    let source = json!({
        "paths": ["../*.binpb"], "schema": "../protos/shop/v1/order.proto", "imports": ["../protos"],
        "message": "shop.v1.Order",
    });
    let (program, own) = pipeline(folder.path(), "broken", &source);
    let summary = program.data("run", &[]);
    assert_eq!(program.data("verify", &[])["conserved"], true);
    let found: Vec<Value> =
        json_lines(&own.join("rows")).into_iter().map(|it| it["orderId"].clone()).collect();
    assert_eq!(json!(found), json!([5, 6, 7, 9]));
    let letters = json_lines(&own.join("dead"));
    assert_eq!(summary["dead_lettered"], letters.len());
    let told: Vec<(&str, &str)> = letters
        .iter()
        .map(|it| {
            (it["etl"]["errorCode"].as_str().unwrap(), it["etl"]["errorMessage"].as_str().unwrap())
        })
        .collect();
    let wanted = [
        ("protobuf-malformed", "the message at byte 9: "),
        ("protobuf-malformed", "the message at byte 14: "),
        ("protobuf-truncated", "the message at byte 20: the file ends within its 9 bytes"),
        ("protobuf-lost-framing", "the message at byte 3: "),
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for ((code, message), (wanted, begins)) in told.into_iter().zip(wanted) {
        assert_eq!(code, wanted, "{message}");
        assert!(message.starts_with(begins), "{message}");
    }
}

#[test]
fn a_schema_that_does_not_fit_is_found_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    protos(folder.path());
    let order = "../protos/shop/v1/order.proto";
    for (source, pointer, says) in [
        (
            json!({ "schema": order, "imports": ["../protos"], "message": "shop.v1.Ordre" }),
            "/source/protobuf/message",
            "`shop.v1.Order`",
        ),
        (
            json!({ "schema": order, "message": "shop.v1.Order" }),
            "/source/protobuf/schema",
            "shop/v1/common.proto",
        ),
        (
            json!({ "schema": "../none.proto", "message": "shop.v1.Order" }),
            "/source/protobuf/schema",
            "none.proto",
        ),
        (
            json!({ "schema": "pipeline.yaml", "message": "shop.v1.Order" }),
            "/source/protobuf/schema",
            "descriptor set",
        ),
    ] {
        let mut source = source;
        source["paths"] = json!(["none"]);
        let own = folder.path().join("own");
        let _ = fs::remove_dir_all(&own);
        let (program, _) = pipeline(folder.path(), "own", &source);
        let checked = program.run("check", &[]);
        assert_eq!(checked.code, 2, "{:#}", checked.json);
        let finding = &checked.json["findings"][0];
        assert_eq!(finding["pointer"], pointer, "{finding:#}");
        let message = finding["message"].as_str().expect("a message");
        assert!(message.contains(says), "{message}");
    }
}
