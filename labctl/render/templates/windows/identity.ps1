# At each start of a clone, as the system: who this machine is for labctl, from its small disc; then the way in opens.
$ErrorActionPreference = 'Stop'
$ssh = "$env:ProgramData\ssh"

# At its first start a clone is still being set up: names and passwords change until that has ended.
while ((Get-ItemProperty -Path 'HKLM:\SYSTEM\Setup').SystemSetupInProgress -ne 0 -or
    (Get-ItemProperty -Path 'HKLM:\SYSTEM\Setup').OOBEInProgress -eq 1) {
    Start-Sleep -Seconds 2
}
Remove-Item -Path "$env:SystemRoot\Panther\unattend*.xml", "$env:SystemRoot\Panther\Unattend\*" `
    -Force -ErrorAction SilentlyContinue

$disc = Get-CimInstance -ClassName Win32_LogicalDisk -Filter 'DriveType = 5' |
    Where-Object { Test-Path -LiteralPath "$($_.DeviceID)\labctl\node.json" } | Select-Object -First 1
if (-not $disc) { exit 0 }
$node = Get-Content -LiteralPath "$($disc.DeviceID)\labctl\node.json" -Raw | ConvertFrom-Json

# The file is for the system and administrators alone, by their numbers: their names depend on the language.
function Set-Secret([string]$Path, [string]$Text) {
    [IO.File]::WriteAllText($Path, $Text)
    & icacls.exe $Path /inheritance:r /grant '*S-1-5-18:F' '*S-1-5-32-544:F' | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "icacls $Path ended with code $LASTEXITCODE" }
}

foreach ($wanted in $node.interfaces.PSObject.Properties) {
    Get-NetAdapter | Where-Object { $_.MacAddress -eq $wanted.Name -and $_.Name -ne $wanted.Value } |
        Rename-NetAdapter -NewName $wanted.Value
}
Set-NetIPv6Protocol -RandomizeIdentifiers Disabled -UseTemporaryAddresses Disabled
# Nothing but link-local addresses on the management link: it leads nowhere.
Disable-NetAdapterBinding -Name $node.management -ComponentID ms_tcpip
Set-NetIPInterface -InterfaceAlias $node.management -AddressFamily IPv6 -RouterDiscovery Disabled -DadTransmits 0
Set-DnsClient -InterfaceAlias $node.management -RegisterThisConnectionsAddress $false

Set-Secret "$ssh\ssh_host_ed25519_key" $node.host_key
Set-Secret "$ssh\administrators_authorized_keys" $node.authorized_keys
if (-not (Get-NetFirewallRule -Name labctl -ErrorAction SilentlyContinue)) {
    New-NetFirewallRule -Name labctl -DisplayName 'labctl' -Direction Inbound -Action Allow -Protocol TCP `
        -LocalPort $node.port -InterfaceAlias $node.management -RemoteAddress 'fe80::/10' -Profile Any | Out-Null
}
# labctl logs in by one name; the account with this number is called otherwise in each language. A domain's keeps its own.
if ((Get-CimInstance -ClassName Win32_ComputerSystem).DomainRole -lt 4) {
    Get-LocalUser | Where-Object { $_.SID -like '*-500' -and $_.Name -ne 'Administrator' } |
        Rename-LocalUser -NewName Administrator
}
Start-Service -Name sshd
# labctl waits for the agent and takes it for "SSH answers".
Start-Service -Name QEMU-GA
