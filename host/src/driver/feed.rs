//! What a shard took out of its inbox and has not told its engine yet.

use std::{collections::VecDeque, sync::Arc, vec};

use xcomponent_core::{id::TenantId, input::Request};

use super::{
    inbox::Message,
    waiter::{Batch, Waiter},
};

/// Messages in the order in which they came; the lines of a batch one by one.
#[derive(Default)]
pub(super) struct Feed {
    messages: VecDeque<Message>,
    lines: Option<Lines>,
}

/// What is left of a batch.
struct Lines {
    tenant: TenantId,
    lines: vec::IntoIter<(usize, Request)>,
    batch: Arc<Batch>,
}

impl Feed {
    /// Where an inbox puts what it has. Only while the feed is empty.
    pub(super) fn buffer(&mut self) -> &mut VecDeque<Message> {
        &mut self.messages
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.lines.is_none()
    }

    /// Roughly how much is left.
    pub(super) fn len(&self) -> usize {
        self.messages.len() + self.lines.as_ref().map_or(0, |lines| lines.lines.len())
    }

    /// The next message; never a batch as such.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(Lines {
                tenant,
                lines,
                batch,
            }) = &mut self.lines
            {
                if let Some((line, request)) = lines.next() {
                    let (tenant, waiter) = (tenant.clone(), Waiter::line(batch, line));
                    return Some(Message::Request {
                        tenant,
                        request,
                        waiter,
                    });
                }
                self.lines = None;
            }
            match self.messages.pop_front()? {
                Message::Lines {
                    tenant,
                    lines,
                    batch,
                } => {
                    self.lines = Some(Lines {
                        tenant,
                        lines,
                        batch,
                    })
                }
                message => return Some(message),
            }
        }
    }

    /// Drops deliveries whose cause will never be durable.
    pub(super) fn drop_void(&mut self, position: u64) {
        self.messages.retain(|message| !message.is_void(position));
    }
}
