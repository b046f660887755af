import { Agent, Dispatcher, fetch as undiciFetch, ProxyAgent } from "undici";
import type { NetworkEnvironment } from "../../environment.js";
import { plainText } from "../../plainText.js";
import { DownloadError } from "./downloadError.js";

/** How long a source may take to be connected, to begin to answer, and between two pieces of an answer. */
const limits = { connect: { timeout: 10_000 }, headersTimeout: 30_000, bodyTimeout: 60_000 };

/** `fetch` through the proxies of the environment, with limits on every wait. {@link close} ends its connections. */
export interface Network {
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

export function openNetwork(environment: NetworkEnvironment): Network {
  const dispatcher = new ByAddress(environment);
  const go = (url: string, init: object = {}) => undiciFetch(url, { ...init, dispatcher });
  // The same interface; the two sets of type declarations differ in details that are not used here.
  return { fetch: go as unknown as typeof fetch, close: () => dispatcher.destroy() };
}

/** Sends every request on its way, through a proxy or not; a redirect to another host is looked at anew. */
class ByAddress extends Dispatcher {
  private readonly agents = new Map<string, Dispatcher>();

  constructor(private readonly environment: NetworkEnvironment) {
    super();
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandlers): boolean {
    return this.agentFor(proxyFor(new URL(String(options.origin)), this.environment)).dispatch(options, handler);
  }

  override async destroy(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.destroy()));
  }

  private agentFor(proxy: string | undefined): Dispatcher {
    const known = this.agents.get(proxy ?? "");
    if (known !== undefined) return known;
    const agent = proxy === undefined ? new Agent(limits) : new ProxyAgent({ ...limits, uri: proxy });
    this.agents.set(proxy ?? "", agent);
    return agent;
  }
}

/**
 * The proxy for an address, as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say; undefined: none. An entry of `NO_PROXY`
 * stands for a host and everything below it, with a port for that port only; `*` stands for all.
 */
export function proxyFor({ protocol, hostname, port }: URL, { httpProxy, httpsProxy, noProxy = "" }: NetworkEnvironment): string | undefined {
  const proxy = protocol === "https:" ? (httpsProxy ?? httpProxy) : httpProxy;
  if (proxy === undefined) return undefined;
  const usedPort = port || (protocol === "https:" ? "443" : "80");
  const isExempt = noProxy.split(/[\s,]+/).some((entry) => {
    const [, host = "", onlyPort = ""] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    if (entry === "*") return true;
    return host !== "" && (onlyPort === "" || onlyPort === usedPort) && (hostname === host || hostname.endsWith(`.${host}`));
  });
  if (isExempt) return undefined;
  return /^[a-z]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

/** What a failed request means for a person. `host` is where it went. */
export function networkError(error: unknown, host: string): DownloadError {
  const causes = [...causesOf(error)];
  const code = causes.map((cause) => String((cause as { code?: unknown }).code ?? "")).find((found) => found !== "") ?? "";
  const text = causes.map((cause) => (cause instanceof Error ? cause.message : "")).join(" ");
  const tell = (kind: DownloadError["kind"], message: string) => new DownloadError(kind, message, { cause: error });
  const proxyStatus = /Proxy response \((\d+)\)/.exec(text)?.[1];
  if (proxyStatus !== undefined) return tell("proxyRefused", `the proxy refused to connect to ${host} (status ${proxyStatus}); see HTTPS_PROXY and NO_PROXY`);
  if (["ENOTFOUND", "EAI_AGAIN"].includes(code)) return tell("noNetwork", `${host} is not known here; is there a network?`);
  if (["ENETUNREACH", "EHOSTUNREACH", "ENETDOWN"].includes(code)) return tell("noNetwork", `there is no way to ${host}; is there a network?`);
  if (code === "ECONNREFUSED") return tell("noNetwork", `nothing answers at ${host}`);
  if (["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT", "ETIMEDOUT"].includes(code)) return tell("noNetwork", `${host} does not answer`);
  if (code === "UND_ERR_BODY_TIMEOUT") return tell("interrupted", `${host} stopped sending`);
  if (/^(?:CERT_|ERR_TLS|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO)/.test(code)) {
    return tell("refused", `the certificate of ${host} is not trusted (${code}); NODE_EXTRA_CA_CERTS names one to trust`);
  }
  return tell("interrupted", `the connection to ${host} broke off (${plainText(code || text || String(error), 80)})`);
}

function* causesOf(error: unknown): Iterable<unknown> {
  for (let cause = error, depth = 0; typeof cause === "object" && cause !== null && depth < 5; depth += 1) {
    yield cause;
    cause = (cause as { cause?: unknown }).cause;
  }
}
