// SPDX-License-Identifier: AGPL-3.0-or-later
// A client by node-opcua, which shares no code with the server: browses, reads, subscribes, calls. One JSON line each.
// It tries to come in until it may: who is not trusted yet says `refused`.
// Usage: node second_opcua_client.mjs URL [CERTIFICATE KEY APPLICATION_URI SERVER_CERTIFICATE USER PASSWORD]

import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.env.NODE_CLIENT}/`);
const {
  AttributeIds, BrowseDirection, ClientMonitoredItem, constructEventFilter, DataType, MessageSecurityMode, 
  OPCUAClient, SecurityPolicy, TimestampsToReturn, UserTokenType,
} = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const [url, certificateFile, privateKeyFile, applicationUri, serverCertificate, userName, password] = process.argv.slice(2);
const say = (what, value) => console.log(JSON.stringify({ what, value }, (_, found) => (typeof found === "bigint" ? Number(found) : found)));

const trusting = new OPCUACertificateManager({ rootFolder: process.env.NODE_CLIENT_PKI, automaticallyAcceptUnknownCertificate: true });
await trusting.initialize();
if (serverCertificate) await trusting.trustCertificate(readFileSync(serverCertificate));
const secured = certificateFile
  ? { securityMode: MessageSecurityMode.SignAndEncrypt, securityPolicy: SecurityPolicy.Basic256Sha256, certificateFile, privateKeyFile, applicationUri }
  : {};
const identity = userName ? { type: UserTokenType.UserName, userName, password } : { type: UserTokenType.Anonymous };

async function joined() {
  const client = OPCUAClient.create({
    applicationName: "second client", endpointMustExist: false, clientCertificateManager: trusting, connectionStrategy: { maxRetry: 0 }, ...secured,
  });
  try {
    await client.connect(url);
    return [client, await client.createSession(identity)];
  } catch (error) {
    await client.disconnect();
    throw error;
  }
}

let client, session;
while (!session) {
  try {
    [client, session] = await joined();
  } catch (error) {
    say("refused", error.message);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

const namespaces = await session.readNamespaceArray();
const own = namespaces.indexOf("urn:vision-line:outputs");
const results = namespaces.indexOf("http://opcfoundation.org/UA/Machinery/Result/");
const node = (path) => `ns=${own};s=VisionLine${path}`;
const children = await session.browse({ nodeId: node(""), browseDirection: BrowseDirection.Forward, resultMask: 63 });
say("children", children.references.map((one) => one.browseName.name).sort());
const state = await session.read({ nodeId: node("/Cameras/cam1/State"), attributeId: AttributeIds.Value });
say("state", state.value.value);
const refused = await session.write({
  nodeId: node("/Heartbeat"), attributeId: AttributeIds.Value, value: { value: { dataType: DataType.UInt32, value: 1 } },
});
say("write", refused.name);

const subscription = await session.createSubscription2({ requestedPublishingInterval: 100, requestedLifetimeCount: 100, requestedMaxKeepAliveCount: 10, publishingEnabled: true });
const fields = ["Time", "SourceName", "Severity", `${own}:Number`, `${own}:Camera`, `${own}:Verdict`, `${own}:ClassName`, `${results}:Result`, `${results}:Result.${results}:ResultMetaData.${results}:ResultEvaluation`];
const item = ClientMonitoredItem.create(
  subscription, { nodeId: node(""), attributeId: AttributeIds.EventNotifier },
  { queueSize: 1000, discardOldest: true, filter: constructEventFilter(fields) }, TimestampsToReturn.Both,
);
const latest = (name) => session.call({ objectId: node("/ResultManagement"), methodId: node(`/ResultManagement/${name}`), inputArguments: [{ dataType: DataType.Int32, value: 0 }] });
item.on("changed", async (values) => {
  const [time, source, severity, number, camera, verdict, className, result, evaluation] = values.map((one) => one.value);
  if (verdict === null) return;
  say("event", { time, source, severity, number: Number(number[1] ?? number), camera, verdict, className, evaluation, meta: result?.resultMetaData });
  const asked = await session.call({
    objectId: node("/ResultManagement"), methodId: node("/ResultManagement/GetResultById"),
    inputArguments: [{ dataType: DataType.String, value: result.resultMetaData.resultId }, { dataType: DataType.Int32, value: 0 }],
  });
  const [, found, error] = asked.outputArguments.map((one) => one.value);
  const content = JSON.parse(found.resultContent[0].value ?? found.resultContent[0]);
  say("result", { status: asked.statusCode.name, error, id: found.resultMetaData.resultId, schema: content.schema });
  const newest = await latest("GetLatestResult");
  say("latest", { status: newest.statusCode.name, id: newest.outputArguments[1].value.resultMetaData.resultId });
  await subscription.terminate();
  await session.close();
  await client.disconnect();
  say("done", createHash("sha256").update(content.id).digest("hex").slice(0, 8));
});
item.on("initialized", () => say("subscribed", true));
item.on("err", (message) => say("error", message));
