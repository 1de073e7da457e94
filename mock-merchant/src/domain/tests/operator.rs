//! What the operator, staff and gates do; catalogues; export and erasure.

use crate::domain::*;
use crate::store::{Tx, privacy};
use crate::testing::*;
use rusqlite::types::ValueRef;
use std::collections::BTreeSet;
use std::time::Duration;
use walkpay::barcode::Gtin;
use walkpay::catalogue::{Row, rows};
use walkpay::protocol::crypto::{digest, from_base64url};
use walkpay::protocol::document::*;
use walkpay::protocol::message::{SpentPass, SpentPasses};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{GateGroup, UserName};

fn manifest(w: &World, base: Option<u64>) -> (CatalogueManifest, std::sync::Arc<Vec<u8>>) {
    let query = Query::Manifest { store_id: store_id(), base };
    let Answer::Manifest(answer) = w.read(&Caller::Anonymous, query).unwrap() else { panic!() };
    let manifest: CatalogueManifest = w.document(&answer.manifest, KeyUse::Catalogue);
    let query = Query::CatalogueData { store_id: store_id(), revision: manifest.revision, base: manifest.base };
    let Answer::CatalogueData(data) = w.read(&Caller::Anonymous, query).unwrap() else { panic!() };
    assert_eq!((digest(&data), data.len() as u64), (manifest.sha256.clone(), manifest.length));
    assert_eq!(rows(&data).filter(Result::is_ok).count() as u64, manifest.rows);
    (manifest, data)
}

#[test]
fn snapshots_and_deltas_are_what_their_manifests_say() {
    let mut w = World::new();
    let d = w.device();
    let (first, data) = manifest(&w, None);
    assert_eq!((first.revision, first.base, first.rows), (1, None, 4));
    assert!(String::from_utf8_lossy(&data).contains("Cola"));
    let mut changed = articles();
    changed.remove(&Gtin::from_u64(STOPPED).unwrap());
    changed.get_mut(&Gtin::from_u64(COLA).unwrap()).unwrap().price_minor = 120;
    assert_eq!(w.import(&changed), 2);
    assert_eq!(w.import(&changed), 2, "nothing changed");
    assert!(w.events(&d).contains(&EventBody::CataloguePublished { store_id: store_id(), revision: 2 }));
    let (delta, data) = manifest(&w, Some(1));
    assert_eq!((delta.base, delta.revision, delta.rows), (Some(1), 2, 2));
    let gone = |r: &Row<'_>| matches!(r, Row::ArticleGone { gtin } if gtin.as_u64() == STOPPED);
    assert!(rows(&data).any(|r| gone(&r.unwrap())));
    assert_eq!(w.import(&articles()), 3);
    let (delta, data) = manifest(&w, Some(1));
    let text = String::from_utf8_lossy(&data).into_owned();
    assert!(delta.rows >= 2 && !text.contains("gone") && text.contains("Recalled"), "back again: {text}");
    assert_eq!(manifest(&w, Some(3)).0.rows, 0, "nothing new");
    assert_eq!(manifest(&w, Some(77)).0.base, None, "an unknown base gets a snapshot");
}

#[test]
fn imports_that_do_not_hold_together_change_nothing() {
    let mut w = World::new();
    let cola = Gtin::from_u64(COLA).unwrap();
    let mut orphan = articles();
    orphan.get_mut(&cola).unwrap().tax_group = "Z".into();
    let mut deposit = articles();
    deposit.get_mut(&cola).unwrap().deposit = Some(Gtin::from_u64(321).unwrap_or(cola));
    for ndjson in [catalogue_rows(&orphan), b"{\"kind\":\"nonsense\"}\n".to_vec(), b"\xff\xfe".to_vec()] {
        let command = AdminCommand::ImportCatalogue { store_id: store_id(), ndjson, replace: true };
        assert_eq!(w.refused(&Caller::Operator, Command::Admin(command)), ProblemCode::InvalidValue);
    }
    assert_eq!(manifest(&w, None).0.revision, 1);
    let d = w.device();
    let foreign = Command::Admin(AdminCommand::PublishKeySet);
    assert_eq!(w.refused(&d.caller(), foreign), ProblemCode::Forbidden);
}

#[test]
fn a_revision_in_use_is_renewed_before_its_time_is_over() {
    let mut w = World::new();
    let until = manifest(&w, None).0.usable_until;
    w.work_for(Duration::from_secs(3 * 24 * 3600));
    assert!(manifest(&w, None).0.usable_until > w.now && w.now > until);
}

#[test]
fn passes_are_spent_once_in_a_group_and_can_be_taken_back() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Accepted));
    let pass = pass_of(&w.validations(&d).pop().unwrap());
    let group = GateGroup::parse("g1").unwrap();
    let gate = Caller::Gate(group.clone());
    let spend = || Command::SpendPasses {
        group: group.clone(),
        passes: SpentPasses { passes: vec![SpentPass { jti: pass.jti, spent_at: w.now }] },
    };
    assert_eq!(w.run(&gate, spend()).unwrap(), Answer::Spent { new: 1, repeated: vec![] });
    assert_eq!(w.run(&gate, spend()).unwrap(), Answer::Spent { new: 0, repeated: vec![pass.jti] });
    let Answer::SpentSince(list) = w.read(&gate, Query::SpentSince { group: group.clone(), after: 0 }).unwrap() else {
        panic!()
    };
    assert_eq!((list.passes.len(), list.cursor), (1, 1));
    let stranger = Caller::Gate(GateGroup::parse("g2").unwrap());
    assert_eq!(w.refused(&stranger, spend()), ProblemCode::Forbidden);
    w.run(&Caller::Operator, Command::Admin(AdminCommand::RevokePass(pass.jti))).unwrap();
    let revocations = |after| match w.read(&gate, Query::Revocations { group: group.clone(), after }).unwrap() {
        Answer::Revocations(r) => r,
        other => panic!("{other:?}"),
    };
    assert_eq!(revocations(0).passes, [pass.jti]);
    assert!(revocations(revocations(0).cursor).passes.is_empty());
}

#[test]
fn staff_tokens_and_gate_keys_are_checked() {
    let mut w = World::new();
    let command = AdminCommand::NewStaffToken {
        store_id: store_id(),
        staff_id: "anna".into(),
        hours: 8,
        scopes: StaffScopes::unnamed(),
    };
    let Answer::StaffToken(token) = w.admin(command) else { panic!() };
    let staff = staff_of_token(&w.ctx(), &token).unwrap();
    let scopes = StaffScopes::unnamed();
    assert_eq!(staff, Caller::Staff { store_id: store_id(), staff_id: "anna".into(), scopes });
    w.pass(Duration::from_secs(8 * 3600));
    assert_eq!(staff_of_token(&w.ctx(), &token).unwrap_err().code(), ProblemCode::Unauthenticated);
    let group = GateGroup::parse("g1").unwrap();
    let Answer::GateKey(key) = w.admin(AdminCommand::NewGateKey(group.clone())) else { panic!() };
    assert_eq!(Tx::read(&w.conn, |tx| gate_of_key(tx, &key)).unwrap(), Caller::Gate(group));
    assert!(Tx::read(&w.conn, |tx| gate_of_key(tx, "gk_wrong")).is_err());
}

#[test]
fn top_ups_are_posted_once_per_reference() {
    let mut w = World::new();
    let d = w.device();
    let top_up = |minor, reference: &str| {
        Command::Admin(AdminCommand::TopUp {
            user_name: name("alice"),
            amount: eur(minor),
            reference: reference.to_owned(),
        })
    };
    for _ in 0..2 {
        w.run(&Caller::Operator, top_up(500, "one")).unwrap();
    }
    assert_eq!(w.stored_value(&d), 500);
    assert_eq!(w.refused(&Caller::Operator, top_up(-5, "two")), ProblemCode::InvalidValue);
    assert_eq!(w.refused(&Caller::Operator, top_up(0, "three")), ProblemCode::InvalidValue);
}

#[test]
fn every_table_has_its_line_in_the_privacy_table() {
    let w = World::new();
    let mut statement =
        w.conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").unwrap();
    let tables: BTreeSet<String> = statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let listed: BTreeSet<String> = privacy::TABLES.iter().map(|t| t.table.to_owned()).collect();
    assert_eq!(tables, listed);
}

#[test]
fn export_shows_and_erasure_removes_what_is_personal() {
    let mut w = World::new();
    w.top_up(200);
    let code = w.code("alice", true);
    let (mut d, request) = w.enrolment(&code);
    let enrol = Command::Enrol { device_id: d.id, request };
    let Answer::Enrolment(answer) = w.run(&Caller::Anonymous, enrol.clone()).unwrap() else { panic!("no grant") };
    d.sub = w.document::<EnrolmentGrant>(&answer.grant, KeyUse::Results).sub;
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 1_000);
    w.work();
    let order = w.service_order(eur(100));
    w.try_slip(&d, &[order]).unwrap();
    assert_eq!(w.submit(&mut d, &mut trip, &[(COLA, 7)]), Some(Verdict::Accepted));
    let export = |w: &World| match w.read(&Caller::Operator, Query::ExportUser { user_name: name("alice") }) {
        Ok(Answer::Export(value)) => Some(value.to_string()),
        _ => None,
    };
    let before = export(&w).unwrap();
    for known in ["Somebody", "alice@example.org", "acc-alice", "phone", "05449000000996", "sv:"] {
        assert!(before.contains(known), "{known}");
    }
    for known in ["top_up.", "POST /payer/v1/slips"] {
        assert!(before.contains(known), "{known}");
    }
    let found = personal(&w);
    for place in ["devices.granted", "user_names.user_name", "bank_bindings.label"] {
        assert!(found.contains(place), "{place} in {found:?}");
    }
    w.admin(AdminCommand::EraseUser { user_name: name("alice") });
    assert!(export(&w).is_none(), "nobody has this name any more");
    w.work_for(Duration::from_secs(3600));
    assert_eq!(w.bank.taken(trip.id), 500, "the debit was carried through");
    w.check_quiet();
    let left = |sql: &str| w.conn.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    for table in [
        "user_names",
        "user_addresses",
        "user_contact",
        "pay_pages",
        "bank_bindings",
        "device_labels",
        "attempt_lines",
        "user_days",
    ] {
        assert_eq!(left(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    assert_eq!(left("SELECT count(*) FROM bank_calls WHERE account IS NOT NULL"), 0);
    assert_eq!(left("SELECT count(*) FROM attempts"), 1, "the evidence stays");
    assert!(personal(&w).is_empty(), "{:?}", personal(&w));
    assert_eq!(w.refused(&Caller::Anonymous, enrol), ProblemCode::IdConflict, "the answer is not kept");
    let (basket, lines) = w.basket(&mut d, &mut w.trip(), &[(COLA, 1)]);
    assert_eq!(w.put_basket(&d, &basket, &lines).unwrap_err().code(), ProblemCode::DeviceRevoked);
    let again = AdminCommand::NewEnrolmentCode { user_name: UserName::parse("alice").unwrap(), self_confirming: true };
    assert_eq!(w.refused(&Caller::Operator, Command::Admin(again)), ProblemCode::NotFound);
}

/// Where the database has something of alice, in whatever column, as it stands or in base64url.
fn personal(w: &World) -> BTreeSet<String> {
    let known = ["alice", "Somebody", "4711", "phone"];
    let tells = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        known.iter().any(|k| text.contains(k))
    };
    let encoded = |text: &str| {
        let part = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        text.split(part).filter_map(|p| from_base64url("part", p).ok()).any(|bytes| tells(&bytes))
    };
    let mut found = BTreeSet::new();
    for table in privacy::TABLES {
        let mut statement = w.conn.prepare(&format!("SELECT * FROM {}", table.table)).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for (n, column) in columns.iter().enumerate() {
                let bytes = match row.get_ref(n).unwrap() {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
                    _ => continue,
                };
                if tells(bytes) || encoded(&String::from_utf8_lossy(bytes)) {
                    found.insert(format!("{}.{column}", table.table));
                }
            }
        }
    }
    found
}

#[test]
fn old_first_answers_go_by_themselves() {
    let mut w = World::new();
    let d = w.device();
    let order = w.service_order(eur(100));
    w.try_slip(&d, &[order]).unwrap();
    let kept = |w: &World| w.conn.query_row("SELECT count(*) FROM idempotency", [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(kept(&w), 1);
    w.work_for(Duration::from_secs(24 * 3600 + 1));
    assert_eq!(kept(&w), 0);
}

#[test]
fn key_sets_are_published_to_devices_in_use() {
    let mut w = World::new();
    let d = w.device();
    let mut keys = (*w.core.keys()).clone();
    keys.rotate(&w.root, KeyUse::Results, w.now, || [77; 32]).unwrap();
    w.core.set_keys(keys);
    w.admin(AdminCommand::PublishKeySet);
    assert!(w.events(&d).contains(&EventBody::KeySetPublished { seq: 2 }));
}
