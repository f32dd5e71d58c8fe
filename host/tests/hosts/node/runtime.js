// A runtime in Node with the component Bank, which speaks to the component Shop on a host through
// Redis, with an ordinary client and the messages of xcomponent-ai. Ends well when an order that it
// created there has been paid by it.
import { createClient } from 'redis';

const url = process.argv[2];
const client = await createClient({ url }).connect();
const listener = await client.duplicate().connect();
const now = () => Date.now();
const say = (channel, message) => client.publish(channel, JSON.stringify(message));
const heard = (line) => console.log(line);

/** Waits until `publish` has led to what `listen` resolves: nobody keeps what is said too early. */
async function until(what, promise, publish) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (publish) await publish();
    const done = await Promise.race([promise, new Promise((again) => setTimeout(again, 200))]);
    if (done !== undefined) {
      heard(what);
      return done;
    }
  }
  throw new Error(`did not happen: ${what}`);
}

const waiting = new Map();
const awaits = (name) => new Promise((resolve) => waiting.set(name, resolve));
const came = (name, value) => waiting.get(name)?.(value);

await listener.subscribe('fsm:registry:announce', (text) => {
  const { componentName, port } = JSON.parse(text);
  if (componentName === 'Shop' && port > 0) came('announced', true);
});
await listener.pSubscribe('xcomponent:events:*', (text, channel) => {
  const { type, componentName, data } = JSON.parse(text);
  if (channel !== `xcomponent:events:${type}` || componentName !== 'Shop') throw new Error(text);
  came(type === 'state_change' ? `state ${data.newState}` : type, data.instanceId);
});
await listener.subscribe('fsm:commands:create_instance', (text) => {
  const { componentName, machineName, context, sourceComponent } = JSON.parse(text);
  if (componentName !== 'Bank') return;
  if (machineName !== 'Account' || sourceComponent !== 'Shop') throw new Error(text);
  came('account', context.owner);
});
await listener.subscribe('fsm:commands:cross_component_event', async (text) => {
  const { targetComponent, targetMachine, event, matchingRules } = JSON.parse(text);
  if (targetComponent !== 'Bank') return;
  const [rule] = matchingRules;
  if (targetMachine !== 'Account' || event.type !== 'CHARGE') throw new Error(text);
  if (rule.instanceProperty !== 'owner' || rule.value !== 'Ada') throw new Error(text);
  came('charge', event.payload.amount);
  await say('xcomponent:Shop', {
    sourceComponent: 'Bank',
    targetComponent: 'Shop',
    targetMachine: 'Order',
    targetState: '*',
    event: { type: 'CHARGED', payload: { order: event.payload.order }, timestamp: now() },
  });
});

await until('the host announces its component', awaits('announced'), () =>
  say('fsm:registry:discover', { timestamp: now() }));

const order = await until('an order is created', awaits('instance_created'), once(() =>
  say('fsm:commands:create_instance', {
    componentName: 'Shop',
    machineName: 'Order',
    context: { owner: 'Ada', order: '1', amount: 5 },
    timestamp: now(),
  })));

await until('the order opens an account here', awaits('account'), once(() =>
  say('external:commands', {
    componentName: 'Shop',
    instanceId: order,
    event: { type: 'OPEN', payload: {}, timestamp: now() },
  })));

const [charged, paid] = [awaits('charge'), awaits('state Paid')];
await until('the order charges the account', charged, once(() =>
  say('xcomponent:external:broadcasts', {
    componentName: 'Shop',
    machineName: 'Order',
    currentState: 'Paying',
    filters: [{ property: 'owner', operator: '===', value: 'Ada' }],
    event: { type: 'PAY', payload: {}, timestamp: now() },
  })));
if ((await paid) !== order) throw new Error('another order was paid');
heard('the order is paid');
await client.close();
await listener.close();

/** Does something the first time only. */
function once(action) {
  let done = false;
  return () => {
    if (done) return undefined;
    done = true;
    return action();
  };
}
