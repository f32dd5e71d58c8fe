//! Components on different hosts: what one sends and another takes in.

use std::sync::Arc;

use serde_json::json;
use xcomponent_core::{
    effect::{Refused, Reply},
    id::{ComponentName, StreamId},
    input::{Elsewhere, Input, Parcel, Receive, Request},
    owed::relayed_by,
    record::Parked,
};

use crate::harness::{Host, none, refused};

const ORDER: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states:
  - Created
  - name: Paying
    cascadingRules:
    - targetComponent: Bank
      targetMachine: Account
      event: CHARGE
      matchingRules: [{eventProperty: owner, instanceProperty: owner}]
      payload: {owner: '{{owner}}', amount: '{{amount}}'}
  transitions:
  - {from: Created, to: Paying, event: PAY}
  - {from: Created, to: Created, event: OPEN, type: cross_component, targetComponent: Bank, targetMachine: Account}
";

const BANK: &str = "name: Bank
version: '1'
stateMachines:
- name: Account
  initialState: Open
  states: [Open, Charged]
  transitions:
  - {from: Open, to: Charged, event: CHARGE}
  - {from: Charged, to: Charged, event: CHARGE}
";

fn shop() -> Host {
    let mut shop = Host::new(&[ORDER]);
    let bank = (shop.tenant.clone(), ComponentName::new("Bank"));
    let elsewhere = Elsewhere {
        named: [bank].into_iter().collect(),
        all: false,
    };
    shop.input(Input::Elsewhere(Arc::new(elsewhere)));
    let customer = json!({ "owner": "Ada", "amount": 5 });
    shop.create("Shop", "Order", "o", customer);
    shop
}

fn bank() -> Host {
    let mut bank = Host::new(&[BANK]);
    bank.create("Bank", "Account", "ada", json!({ "owner": "Ada" }));
    bank
}

/// What a host sends to others, a parcel for each record.
fn parcels(host: &Host) -> Vec<Parcel> {
    let mut before = 0;
    let records = (1..).zip(&host.records);
    let parcels = records.filter_map(|(number, record)| {
        let deliveries: Vec<_> = relayed_by(&record.body).cloned().collect();
        (!deliveries.is_empty()).then(|| Parcel {
            number,
            before: Some(std::mem::replace(&mut before, number)),
            source: None,
            deliveries,
        })
    });
    parcels.collect()
}

fn give(host: &mut Host, parcels: Vec<Parcel>) -> Reply {
    let stream = StreamId::new("shop/Bank");
    host.request(Request::Receive(Receive { stream, parcels }))
}

fn took_in(reply: &Reply) -> u64 {
    let Reply::Received { through } = reply else {
        panic!("not taken in: {reply:?}");
    };
    *through
}

#[test]
fn what_is_for_another_host_is_in_the_record_and_goes_nowhere_else() {
    let mut shop = shop();
    shop.send("o", "PAY", none());
    assert_eq!(parcels(&shop).len(), 1);
    assert!(shop.parked().is_empty());
}

#[test]
fn a_component_that_is_here_is_never_elsewhere() {
    let mut host = Host::new(&[ORDER, BANK]);
    let elsewhere = Elsewhere {
        all: true,
        ..Elsewhere::default()
    };
    host.input(Input::Elsewhere(Arc::new(elsewhere)));
    let customer = json!({ "owner": "Ada", "amount": 5 });
    host.create("Shop", "Order", "o", customer.clone());
    host.create("Bank", "Account", "ada", customer);
    host.send("o", "PAY", none());
    assert_eq!(host.state("ada"), "Charged");
    assert!(parcels(&host).is_empty());
}

#[test]
fn what_another_host_sent_happens_once_however_often_it_comes() {
    let (mut shop, mut bank) = (shop(), bank());
    shop.send("o", "PAY", none());
    let sent = parcels(&shop);
    let last = sent[0].number;
    assert_eq!(took_in(&give(&mut bank, sent.clone())), last);
    assert_eq!(took_in(&give(&mut bank, sent)), last);
    assert_eq!(bank.history("ada").len(), 2);
    assert_eq!(bank.state("ada"), "Charged");
    assert_eq!(bank.context("ada")["amount"], 5);
}

#[test]
fn a_creation_and_its_cause_cross_over() {
    let (mut shop, mut bank) = (shop(), Host::new(&[BANK]));
    shop.send("o", "OPEN", none());
    give(&mut bank, parcels(&shop));
    let account = bank.all("Account").remove(0);
    assert_eq!(bank.context(&account)["owner"], "Ada");
    let created = bank.handled().next().expect("it was created");
    assert_eq!(created.cause.instance.as_ref().unwrap().to_string(), "o");
    assert_eq!(created.cause.depth, 1);
}

#[test]
fn parcels_before_which_others_are_missing_are_refused() {
    let (mut shop, mut bank) = (shop(), bank());
    for event in ["OPEN", "OPEN", "OPEN", "PAY"] {
        shop.send("o", event, none());
    }
    let sent = parcels(&shop);
    let first = took_in(&give(&mut bank, sent[..1].to_vec()));
    let gap = refused(give(&mut bank, sent[2..].to_vec()));
    assert_eq!(gap, Refused::Gap { through: first });
    assert_eq!(took_in(&give(&mut bank, sent.clone())), sent[3].number);
    assert_eq!(bank.all("Account").len(), 4);
    assert_eq!(bank.state("ada"), "Charged");
}

#[test]
fn a_transport_that_loses_parcels_may_say_so() {
    let (mut shop, mut bank) = (shop(), bank());
    for event in ["OPEN", "OPEN", "PAY"] {
        shop.send("o", event, none());
    }
    let mut sent = parcels(&shop);
    sent.iter_mut().for_each(|parcel| parcel.before = None);
    give(&mut bank, sent[..1].to_vec());
    give(&mut bank, sent[2..].to_vec());
    assert_eq!(bank.state("ada"), "Charged");
}

#[test]
fn a_stream_goes_on_where_the_store_ends() {
    let (mut shop, mut bank) = (shop(), bank());
    shop.send("o", "PAY", none());
    let sent = parcels(&shop);
    let stream = StreamId::new("shop/Bank");
    let known = vec![(bank.tenant.clone(), stream, sent[0].number)];
    bank.input(Input::Streams(known));
    give(&mut bank, sent);
    assert_eq!(bank.state("ada"), "Open");
}

#[test]
fn what_no_transport_takes_is_parked() {
    let mut shop = shop();
    shop.send("o", "PAY", none());
    let deliveries = parcels(&shop).remove(0).deliveries;
    let why = "it has 2 MB, and 1 MB is the most".into();
    shop.request(Request::Return { deliveries, why });
    let letter = shop.parked().remove(0);
    assert!(matches!(letter.why, Parked::Undeliverable(_)));
    assert_eq!(letter.component.as_str(), "Bank");
}
