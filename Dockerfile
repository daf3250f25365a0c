# Two images from one build: the API, and the authorization server of the demo, which is not for production.

FROM node:22-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build:all && node examples/compose/bundle.mjs

FROM node:22-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev

FROM node:22-slim AS authorization-server
WORKDIR /app
COPY --from=build /app/.build/authorization-server.mjs ./
USER node
CMD ["node", "authorization-server.mjs"]

# The last stage is the one that is built without --target. Outside of Compose it needs HOST=0.0.0.0.
FROM node:22-slim AS api
WORKDIR /app
RUN install --directory --owner=node --group=node data
COPY package.json ./
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER node
CMD ["node", "--min-semi-space-size=16", "--max-semi-space-size=16", "dist/server.js"]
