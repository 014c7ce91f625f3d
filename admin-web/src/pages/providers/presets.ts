/** Upstreams that people use, with what is known of them. */
import { ApiFormat } from '$gen/bridge/admin/v1/provider_pb';

export interface Preset {
  dialect: string;
  label: string;
  baseUrl: string;
  apiFormat: ApiFormat;
  /** On one's own machine: mostly without a key. */
  isLocal: boolean;
}

const cloud = (dialect: string, label: string, baseUrl: string): Preset => ({ dialect, label, baseUrl, apiFormat: ApiFormat.OPENAI, isLocal: false });
const local = (dialect: string, label: string, baseUrl: string): Preset => ({ ...cloud(dialect, label, baseUrl), isLocal: true });

export const PRESETS: Preset[] = [
  cloud('qwen', 'Qwen', 'https://dashscope.aliyuncs.com/compatible-mode/v1'),
  cloud('modelscope', 'ModelScope', 'https://api-inference.modelscope.cn/v1'),
  cloud('aiping', 'AI Ping', 'https://aiping.cn/api/v1'),
  cloud('deepseek', 'DeepSeek', 'https://api.deepseek.com/v1'),
  cloud('kimi', 'Kimi', 'https://api.moonshot.cn/v1'),
  cloud('glm', 'GLM', 'https://open.bigmodel.cn/api/paas/v4'),
  cloud('minimax', 'MiniMax', 'https://api.minimaxi.com/v1'),
  cloud('openai', 'OpenAI', 'https://api.openai.com/v1'),
  { ...cloud('anthropic', 'Anthropic', 'https://api.anthropic.com'), apiFormat: ApiFormat.ANTHROPIC },
  cloud('gemini', 'Gemini', 'https://generativelanguage.googleapis.com/v1beta/openai'),
  cloud('mistral', 'Mistral', 'https://api.mistral.ai/v1'),
  cloud('groq', 'Groq', 'https://api.groq.com/openai/v1'),
  cloud('openrouter', 'OpenRouter', 'https://openrouter.ai/api/v1'),
  cloud('xai', 'xAI', 'https://api.x.ai/v1'),
  local('vllm', 'vLLM', 'http://127.0.0.1:8000/v1'),
  local('sglang', 'SGLang', 'http://127.0.0.1:30000/v1'),
  local('ollama', 'Ollama', 'http://127.0.0.1:11434/v1'),
  local('llama-cpp', 'llama.cpp', 'http://127.0.0.1:8080/v1'),
  local('lm-studio', 'LM Studio', 'http://127.0.0.1:1234/v1'),
];

/** Every preset of the control plane, for those who know theirs. */
export const DIALECTS = [
  'generic', 'openai', 'openai-reasoning', 'azure-openai', 'qwen', 'modelscope', 'aiping', 'deepseek', 'deepseek-r1', 'kimi', 'glm', 'minimax',
  'mistral', 'gemini', 'groq', 'openrouter', 'xai', 'vllm', 'sglang', 'llama-cpp', 'ollama', 'lm-studio', 'anthropic',
];
