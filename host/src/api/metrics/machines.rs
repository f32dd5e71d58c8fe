//! What is counted of machines, each under its component's name and its own.

use std::{collections::BTreeMap, fmt, time::Duration};

use prometheus_client::metrics::MetricType;
use xcomponent_core::engine::figures::{DISPOSITIONS, FAULTS, PARKED};

use super::{NO_EXEMPLAR, Out, wide};
use crate::driver::machines::MachineGauges;

/// By component and machine.
type Machines = BTreeMap<(String, String), MachineGauges>;

impl Out<'_> {
    pub(super) fn machines(&mut self, machines: &Machines) -> fmt::Result {
        let help = "What became of events";
        let label = ("disposition", DISPOSITIONS.map(|one| one.as_str()));
        self.several("machine_events", help, label, machines, |one| &one.events)?;
        let help = "Faults of methods, those that are tried again included";
        let label = ("code", FAULTS.map(|one| one.as_str()));
        self.several("machine_faults", help, label, machines, |one| &one.faults)?;
        let help = "Events that were parked as dead letters";
        let label = ("code", PARKED);
        self.several("machine_parked", help, label, machines, |one| &one.parked)?;
        let kind = MetricType::Counter;
        let help = "Fuel that methods used";
        self.one("machine_fuel", help, kind, machines, |one| one.fuel)?;
        let help = "Calls of methods that ended";
        self.one("machine_calls", help, kind, machines, |one| one.calls)?;
        self.seconds_in_calls(machines)?;
        let kind = MetricType::Gauge;
        let help = "Events that wait at instances in memory";
        let name = "machine_queued_events";
        self.one(name, help, kind, machines, |one| one.queued)?;
        let help = "Timers, delayed sends and retries that are to come";
        let name = "machine_pending_timers";
        self.one(name, help, kind, machines, |one| one.timers)
    }

    /// A counter with one more label; values that are 0 are left out.
    fn several<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        (label, texts): (&str, [&str; N]),
        machines: &Machines,
        values: fn(&MachineGauges) -> &[u64; N],
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for ((component, machine), gauges) in machines {
            let counted = texts.iter().zip(values(gauges));
            for (text, count) in counted.filter(|(_, count)| **count > 0) {
                let labels = [
                    ("component", component.as_str()),
                    ("machine", machine.as_str()),
                    (label, text),
                ];
                metric
                    .encode_family(&labels)?
                    .encode_counter(count, NO_EXEMPLAR)?;
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        machines: &Machines,
        value: fn(&MachineGauges) -> u64,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (names, gauges) in machines {
            let labels = labels(names);
            let mut family = metric.encode_family(&labels)?;
            match kind {
                MetricType::Gauge => family.encode_gauge(&wide(value(gauges)))?,
                _ => family.encode_counter(&value(gauges), NO_EXEMPLAR)?,
            }
        }
        Ok(())
    }

    fn seconds_in_calls(&mut self, machines: &Machines) -> fmt::Result {
        let help = "How long calls of methods took, added up";
        let (name, kind) = ("machine_call_seconds", MetricType::Counter);
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (names, gauges) in machines {
            let seconds = Duration::from_micros(gauges.calls_us).as_secs_f64();
            metric
                .encode_family(&labels(names))?
                .encode_counter(&seconds, NO_EXEMPLAR)?;
        }
        Ok(())
    }
}

fn labels((component, machine): &(String, String)) -> [(&str, &str); 2] {
    [("component", component), ("machine", machine)]
}
